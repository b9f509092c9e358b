"""``--channels``: what the program writes is what it reads, for names of every form."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domains.powerline.waveforms import RecordError
from domains.powerline.waveforms.channel_values import StoredValues
from domains.powerline.waveforms.channels.mapping import (
    MAX_NAME,
    Bay,
    bays_of_user,
    channels_option,
    parse_channels,
)
from domains.powerline.waveforms.record import RawChannel, RawRecord, ReadOptions, Segment, channels_argument
from domains.powerline.waveforms.signal.assembly import ROLES

LINE_NAMES = st.text(st.characters(exclude_categories=("C", "Z")) | st.sampled_from(" :;='\""), max_size=30)
CHANNEL_NAMES = st.sampled_from(["1", "2", "3", "07", "I A", "I  A", "IL'1", 'U"2', "a=b;c:d", "电流", ""]) | st.text(
    max_size=8
)


def raw(names: list[str]) -> RawRecord:
    channels = tuple(RawChannel(number, name) for number, name in enumerate(names, 1))
    values = StoredValues(np.zeros((len(names), 4), np.float32))
    return RawRecord(Path("record.cfg"), "CSV", channels, values, (Segment(0, 4, 1000.0, 0.0),))


@given(
    lines=st.lists(LINE_NAMES, min_size=1, max_size=4, unique_by=str.strip),
    names=st.lists(CHANNEL_NAMES, min_size=1, max_size=12),
    data=st.data(),
)
@example(lines=["'"], names=["2", "1"], data=None)
@example(lines=['"a": b;', "a=b"], names=["2", "1"], data=None)
def test_what_is_written_is_read_back(lines: list[str], names: list[str], data: st.DataObject | None) -> None:
    record = raw(names)
    # Two channels of one name whose numbers are names of others can be told apart by neither.
    ambiguous = {k for k in range(len(names)) if str(k + 1) in names and names[k] != str(k + 1)}
    ambiguous = {k for k in ambiguous if names.count(names[k]) > 1 or not names[k].strip()}
    usable = sorted(set(range(len(names))) - ambiguous)
    if not usable:
        return
    bays = []
    for number, name in enumerate(lines, 1):
        if data is None:
            roles = {"ia": usable[0], "v0": usable[-1]}
        else:
            roles = data.draw(st.dictionaries(st.sampled_from(ROLES), st.sampled_from(usable), min_size=1))
        bays.append(Bay(name.strip()[:MAX_NAME] or f"line {number}", roles))
    if len({bay.name for bay in bays}) < len(bays):
        return
    argument = channels_argument(channels_option(bay, record.channels) for bay in bays)
    command, text = shlex.split(argument)
    assert command == "--channels"
    read = bays_of_user(record, ReadOptions(channels=text))
    assert read is not None
    assert [(bay.name, dict(bay.roles)) for bay in read] == [(bay.name, dict(bay.roles)) for bay in bays]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("ia=1 ib=2", {"": {"ia": "1", "ib": "2"}}),
        ("ia=1,ib=2 , ic=3", {"": {"ia": "1", "ib": "2", "ic": "3"}}),
        ("ia=1; ia=2;", {"line 1": {"ia": "1"}, "line 2": {"ia": "2"}}),
        ("north:ia = 1", {"north": {"ia": "1"}}),
        ("x: ia=1; x: ia=2", {"x": {"ia": "1"}, "x #2": {"ia": "2"}}),
        ("ia='a;b: c' v0=\"d=e\"", {"": {"ia": "a;b: c", "v0": "d=e"}}),
        ("'it''s: x': IA='o''clock'", {"it's: x": {"ia": "o'clock"}}),
        ("O'Brien: ia=IL'1", {"O'Brien": {"ia": "IL'1"}}),
        ("Л-110 城东: ia=ток", {"Л-110 城东": {"ia": "ток"}}),
    ],
)
def test_the_forms_of_the_option(text: str, lines: dict[str, dict[str, str]]) -> None:
    assert parse_channels(text) == lines


@pytest.mark.parametrize("text", ["north", "north:", "1 2 3", "ia=1 2 ib=3", "north: ia=1; south:", ": ia="])
def test_text_that_names_no_channel_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(RecordError, match="ia=4 ib=5"):
        parse_channels(text)


@given(st.text(st.sampled_from("ia=1 ;:'\"x,\n")))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    refused = ""
    try:
        parse_channels(text)
    except RecordError as error:
        refused = str(error)
    assert "\n" not in refused
