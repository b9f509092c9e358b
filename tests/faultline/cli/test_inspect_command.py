"""``faultline inspect``: the decisions about channels, and the ``--channels`` that makes them again."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from domains.powerline.waveforms import ReadOptions, Record, open_waveforms
from domains.powerline.waveforms.record import ChannelSummary, Decision, Statement
from faultline.cli import app
from faultline.cli.waveforms.decisions import merged_channels, rows_of_line, rows_of_record, unused_rows
from faultline.cli.waveforms.inspect import MOST_CHANNELS, MOST_LINES, as_body, show
from tests.domains.powerline.waveforms.record_samples import Shape, healthy, load_waves, write_record
from tests.faultline.plots.hand_made import line, record, summary, waves


def shown(one: Record, *, everything: bool = False) -> str:
    with redirect_stdout(io.StringIO()) as text:
        show(one, everything=everything)
    return text.getvalue()


def station(folder: Path, bays: Sequence[str], encoding: str = "utf-8", quantities: Sequence[str] = ("I", "U")) -> Path:
    """Write a record of several bays that have three currents and three voltages each."""
    names = [f"{bay} {quantity}{phase}" for bay in bays for quantity in quantities for phase in ("A", "B", "C")]
    count = len(bays)
    shape = Shape(
        names=names,
        phases=("A", "B", "C") * 2 * count,
        circuits=[bay for bay in bays for _ in range(6)],
        units=("A", "A", "A", "V", "V", "V") * count,
        skew_us=(0.0,) * 6 * count,
        encoding=encoding,
        status=1,
    )
    # Each bay has a load of its own, so that no set is a copy of another.
    samples = [load_waves(shape) * (1 + 0.2 * number) for number in range(count)]
    return write_record(folder, shape, np.concatenate(samples, axis=1)).path


BAYS = {
    "blanks": (["North feeder 1", "South feeder 2"], "utf-8"),
    "quotes": (["O'Brien", '12" bus'], "utf-8"),
    "colons": (["A: main", "B; spare = old"], "utf-8"),
    "begins with a quote": (["'quoted'", '"twice"'], "utf-8"),
    "Cyrillic": (["Л-110 Восточная", "Л-110 Западная"], "cp1251"),
    "Chinese": (["城东线", "山西线"], "gbk"),
    "numbers": (["1", "2"], "utf-8"),
    "shell": (["$HOME `ls`", "a\\b!"], "utf-8"),
}


@pytest.mark.parametrize("kind", BAYS)
def test_the_option_that_inspect_prints_gives_the_same_lines(kind: str, tmp_path: Path, command: CliRunner) -> None:
    bays, encoding = BAYS[kind]
    path = station(tmp_path, bays, encoding)
    first = open_waveforms(path)
    assert len(first.lines) == 2
    printed = command.invoke(app, ["inspect", str(path)]).stdout
    (row,) = [text for text in printed.splitlines() if text.startswith("--channels ")]
    again = open_waveforms(path, options=ReadOptions(channels=shlex.split(row)[1]))
    assert [one.name for one in again.lines] == [one.name for one in first.lines]
    for one, other in zip(first.lines, again.lines, strict=True):
        assert one.sources == other.sources
        assert one.channels_option == other.channels_option
        np.testing.assert_array_equal(one.samples, other.samples)
    told = command.invoke(app, ["inspect", str(path), *shlex.split(row), "--json"])
    assert [one["name"] for one in json.loads(told.stdout)["lines"]] == [one.name for one in first.lines]


def test_inspect_gives_the_reason_for_every_group_of_channels() -> None:
    decisions = (
        Decision("1 2 3 (IL1 IL2 IL3)", "north: ia ib ic", "the names differ only in L1 L2 L3"),
        Decision("4 5 6 (U1 U2 U3)", "north: va vb vc", "angle and power fit"),
        Decision("7 8 9 (I1 I2 I3)", "a: north: ia ib ic", "the phase field"),
        Decision("20 (Hz)", "not used", "no waveform"),
        Decision("", "mains frequency 50 Hz", "measured on 12 cycles"),
        Decision("", "north: per unit", line().base_source),
    )
    one = record(line("file/north"), line("file/a: north"), decisions=decisions)
    north, other = (rows_of_line(one, each) for each in one.lines)
    assert [(row.use, row.reason) for row in north[:3]] == [
        ("ia ib ic", "the names differ only in L1 L2 L3"),
        ("va vb vc", "angle and power fit"),
        ("per unit", line().base_source),
    ]
    assert [row.use for row in north[3:]] == ["steady state"]
    assert (
        north[3].reason
        == "0.000 to 0.180 s: voltages 1.00 p.u. in rotation ABC, currents 0.50 p.u. in rotation ABC, lagging by 17°"
    )
    assert [row.channels for row in other] == ["7 8 9 (I1 I2 I3)", "", ""]
    assert [row.use for row in rows_of_record(one)] == ["mains frequency 50 Hz"]
    assert [row.reason for row in unused_rows(one)] == ["no waveform"]
    text = shown(one)
    for decision in decisions:
        assert decision.reason.split()[0] in text


def test_a_rotation_against_the_usual_one_is_named() -> None:
    samples = waves()[:, [0, 2, 1, 3, 5, 4]]
    rows = rows_of_line(record(line(samples=samples)), line(samples=samples))
    assert "voltages 1.00 p.u. in rotation ACB" in rows[-1].reason
    rows = rows_of_line(record(), line(samples=waves()[:, [0, 2, 1, 3, 4, 5]]))
    assert rows[-1].reason.endswith("voltages 1.00 p.u. in rotation ABC, currents 0.50 p.u. in rotation ACB")


def test_channels_that_the_user_assigned_are_shown_as_such() -> None:
    rows = rows_of_line(record(line()), line())
    assert [row.channels for row in rows[:2]] == ["1 2 3 (IA IB IC)", "4 5 6 (VA VB VC)"]
    assert "--channels" in rows[0].reason


def large(channels: int, lines: int) -> Record:
    """Return a record of many channels, of which the last ones are used."""
    used = 6 * lines
    parts = [summary(number, f"P{number}") for number in range(1, channels - used + 1)]
    made = []
    for k in range(lines):
        first = channels - used + 6 * k + 1
        parts += [summary(first + j, f"I{first + j}", f"bay {k}/i{j}") for j in range(6)]
        made.append(line(f"record/bay {k}", waves()[:480], first_channel=first))
    decisions = tuple(
        Decision(f"{number} (P{number})", "not used", "no phase" if number % 3 else "no waveform")
        for number in range(1, channels - used + 1)
    )
    return record(*made, channels=tuple(parts), decisions=decisions)


def test_a_large_record_is_shown_in_a_few_rows() -> None:
    one = large(channels=2200, lines=30)
    assert len(unused_rows(one)) == 2
    text = shown(one)
    assert len(text.splitlines()) < 200
    assert f"{2200 - MOST_CHANNELS:,} more channels (--all shows them)" in text
    assert f"{30 - MOST_LINES} more lines (--all shows them)" in text
    assert "--channels '" not in text
    # The used channels come first.
    assert "I2200" not in text
    assert "I2021" in text
    everything = shown(one, everything=True)
    assert "P2000" in everything
    assert "more channels" not in everything
    assert "record/bay 29" in everything
    assert "--channels 'bay 0: ia=2021" in everything


def test_unused_channels_with_the_same_reason_are_one_row() -> None:
    decisions = (
        Decision("1 2 3 (P Q S)", "not used", "no waveform"),
        Decision("4 5 (X Y)", "not used", "no phase"),
        Decision("9 7 8 (T1 T2 T3)", "not used", "no waveform"),
    )
    channels = tuple(summary(number, name) for number, name in ((1, "P first"), (4, "X"), (9, "T 9")))
    rows = unused_rows(record(channels=channels, decisions=decisions))
    assert [row.channels for row in rows] == ["1\N{EN DASH}3 7\N{EN DASH}9 (P first … T 9)", "4 5 (X Y)"]


@given(st.lists(st.lists(st.integers(0, 5000), min_size=1, max_size=8), min_size=2, max_size=8))
def test_merged_channels_hold_every_number(groups: list[list[int]]) -> None:
    numbers = {number for group in groups for number in group}
    text = merged_channels([f"{' '.join(map(str, group))} (name)" for group in groups], {})
    ranges = text.partition(" (")[0]
    held: set[int] = set()
    for part in ranges.removesuffix(" …").split():
        first, _, last = part.partition("\N{EN DASH}")
        held |= set(range(int(first), int(last or first) + 1))
    assert held == numbers or (ranges.endswith("…") and held < numbers)


def test_json_has_all_that_the_reader_decided() -> None:
    other = line("record/bay", first_channel=20)
    one = record(
        line("record/bay", alternatives=(other,)),
        decisions=(Decision("1 2 3 (IA IB IC)", "bay: ia ib ic", "their names"),),
        statements=(Statement("fault.hdr", "Zone 1"),),
    )
    body = as_body(one)
    assert body["decisions"] == [{"channels": "1 2 3 (IA IB IC)", "use": "bay: ia ib ic", "reason": "their names"}]
    assert body["statements"] == [{"source": "fault.hdr", "text": "Zone 1"}]
    assert body["no_line"] == ""
    (only,) = body["lines"]
    assert only["channels_option"] == "bay: ia=1 ib=2 ic=3 va=4 vb=5 vc=6"
    assert [each["channels_option"] for each in only["alternatives"]] == [other.channels_option]
    json.dumps(body)


def test_a_record_without_lines_is_shown_with_the_reason(tmp_path: Path, command: CliRunner) -> None:
    path = healthy(tmp_path, names=("X", "Y", "Z", "P", "Q", "W"), phases=("",) * 6).path
    result = command.invoke(app, ["inspect", str(path)])
    assert result.exit_code == 0
    assert "no set of three phases" in result.stdout
    assert "--channels 'ia=1 ib=2 ic=3" in result.stdout
    assert json.loads(command.invoke(app, ["inspect", str(path), "--json"]).stdout)["no_line"]


def test_text_of_a_file_is_shown_as_it_is() -> None:
    odd = "[red]IA[/] [/bold] \\[x]"
    channel = ChannelSummary(1, odd, odd, odd, f"{odd}/ia", 0.0, 0.0, 0.0, 0)
    one = record(line(odd), channels=(channel,), decisions=(Decision(f"1 ({odd})", "not used", odd),))
    assert "[red]IA[/]" in shown(one)
