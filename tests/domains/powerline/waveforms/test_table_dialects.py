"""Tables as programs and people write them: separators, decimal signs, quotes, lines above, units, forms of time."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domains.powerline.waveforms import ReadOptions
from domains.powerline.waveforms.formats.table import read_table
from domains.powerline.waveforms.naming import kind_of, unit_of
from domains.powerline.waveforms.record import RawRecord
from tests.domains.powerline.waveforms.record_samples import Shape, load_waves
from tests.domains.powerline.waveforms.table_dialects import (
    NAMES,
    PREAMBLES,
    TIME_FORMS,
    UNIT_FORMS,
    Dialect,
    write_table,
)

SHAPE = Shape(segments=((4800.0, 240),))
SECONDS = SHAPE.times()
WAVES = load_waves(SHAPE)


def read(dialect: Dialect, folder: Path) -> RawRecord:
    return read_table(write_table(folder / "t.csv", dialect, WAVES, SECONDS), ReadOptions())


def assert_same(raw: RawRecord, dialect: Dialect) -> None:
    assert len(raw.channels) == 6, [channel.name for channel in raw.channels]
    factors = [unit_of(channel)[1] for channel in raw.channels]
    found = raw.source.read(range(6)) * np.array(factors)[:, None]
    np.testing.assert_allclose(found.T, WAVES, rtol=1e-5, atol=0.5)
    assert [len(segment) for segment in raw.segments] == [240]
    assert raw.segments[0].rate_hz == pytest.approx(4800, rel=1e-3)
    if dialect.units != "none":
        assert [kind_of(channel) for channel in raw.channels] == ["current"] * 3 + ["voltage"] * 3
    prefix = ("Feeder 7|", "Bus 2|") if dialect.devices else ("", "")
    assert [channel.name for channel in raw.channels] == [
        prefix[k // 3] + name for k, name in enumerate(NAMES[dialect.names])
    ]


def possible(dialect: Dialect) -> bool:
    """Return True for a dialect that says unambiguously what it means."""
    if dialect.comma and dialect.separator == "," and dialect.quoting not in ("all", "needed"):
        return False
    if dialect.separator == " " and (dialect.trailing or dialect.time in ("day first", "month name")):
        return False
    return not (dialect.trailing and dialect.status)


dialects = st.builds(
    Dialect,
    separator=st.sampled_from([",", ";", "\t", "|", " "]),
    comma=st.booleans(),
    quoting=st.sampled_from(["needed", "names", "all"]),
    preamble=st.sampled_from([*PREAMBLES]),
    names=st.sampled_from([*NAMES]),
    units=st.sampled_from([*UNIT_FORMS]),
    time=st.sampled_from(TIME_FORMS),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"]),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    trailing=st.booleans(),
    spaces=st.booleans(),
    exponent=st.sampled_from(["", "", "E", "e", "D"]),
    devices=st.booleans(),
    sep_line=st.booleans(),
    blank_lines=st.booleans(),
    status=st.booleans(),
).filter(possible)


@settings(max_examples=300)
@given(dialect=dialects)
def test_a_table_is_read_in_any_dialect(dialect: Dialect) -> None:
    with tempfile.TemporaryDirectory() as folder:
        raw = read(dialect, Path(folder))
    assert_same(raw, dialect)
