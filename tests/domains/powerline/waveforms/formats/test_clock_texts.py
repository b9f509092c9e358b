"""Times of the header as recorders write them are read, or the record counts from 1970 and says so."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.powerline.waveforms import open_waveforms
from domains.powerline.waveforms.formats.times import looks_like_stamp, stamp_ns
from tests.domains.powerline.waveforms.record_samples import healthy


def unix_ns(*parts: int, fraction_ns: int = 0) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 10**9 + fraction_ns  # type: ignore[misc, arg-type]


USUAL = unix_ns(2024, 2, 1, 3, 4, 5)
READ = {
    ("01/02/2024", "03:04:05"): USUAL,
    ("1/2/2024", "3:4:5"): USUAL,
    ("01-02-24", "03:04:05.0"): USUAL,
    ("01.02.2024", "03:04:05,5"): USUAL + 500_000_000,
    ("2024-02-01", "03:04:05"): USUAL,
    ("2024/2/1", "03:04:05"): USUAL,
    ("2024-02-01T03:04:05", ""): USUAL,
    ("2024-02-01T03:04:05.25Z", ""): USUAL + 250_000_000,
    ("2024-02-01T05:04:05+02:00", ""): USUAL,
    ("01/02/2024 03:04:05.000001", ""): USUAL + 1000,
    ("01022024", "030405"): USUAL,
    ("20240201", "030405.678"): USUAL + 678_000_000,
    ("010224", "03:04:05"): USUAL,
    ("1 Feb 2024", "03:04:05"): USUAL,
    ("01-FEB-24", "03:04:05"): USUAL,
    ("1 février 2024", "03:04:05"): USUAL,
    ("01 фев 2024", "03:04:05"): USUAL,
    ("February 1, 2024", "03:04:05"): USUAL,
    ("01/02/2024", "03:04:05:678"): USUAL + 678_000_000,
    ("01/02/2024", "03.04.05"): USUAL,
    ("01/02/2024", "03:04.05"): USUAL,
    ("01/02/2024", "030405"): USUAL,
    ("01/02/2024", "03:04"): unix_ns(2024, 2, 1, 3, 4),
    ("01-02-2024", "03-04-05.5"): USUAL + 500_000_000,
    ("01/02/2024", "3:04:05 PM"): unix_ns(2024, 2, 1, 15, 4, 5),
    ("01/02/2024", "12:04:05.5 am"): unix_ns(2024, 2, 1, 0, 4, 5, fraction_ns=500_000_000),
    ("01/02/2024", "24:00:00"): unix_ns(2024, 2, 2),
    ("31/12/2023", "24:00:00.000"): unix_ns(2024, 1, 1),
    ("01/02/2024", "03:04:60"): unix_ns(2024, 2, 1, 3, 5),
    ("01/02/2024", "03:04:59.9999999"): unix_ns(2024, 2, 1, 3, 4, 59, fraction_ns=999_999_900),
    ("02/13/2024", "03:04:05"): unix_ns(2024, 2, 13, 3, 4, 5),
    (' "01/02/2024"', '"03:04:05" '): USUAL,
    ("01/02/99", "03:04:05"): unix_ns(1999, 2, 1, 3, 4, 5),
}
UNREADABLE = [
    ("", ""), ("  ", "  "), ("29/02/2023", "03:04:05"), ("00/00/0000", "00:00:00"), ("31/04/2024", "03:04:05"),
    ("??/??/????", "??:??:??"), ("01/02/2024", "25:00:00"), ("01/02/2024", "24:00:01"), ("01/02/2024", "03:61:00"),
    ("01/02/2024", "noon"), ("01/02/2024", ""), ("", "03:04:05"), ("1 Smarch 2024", "03:04:05"),
    ("01/01/1601", "00:00:00"), ("20102012", "0304"), ("1/2/3/4", "03:04:05"), ("01/02/2024", "13:04:05 PM"),
    ("99999999", "999999"), ("99999999", "03:04:05"),
]  # fmt: skip


@pytest.mark.parametrize("texts", READ, ids=str)
def test_a_stamp_without_doubt_is_read(texts: tuple[str, str]) -> None:
    ns, _, _ = stamp_ns(*texts, month_first=False)
    assert ns == READ[texts]


@pytest.mark.parametrize("texts", UNREADABLE, ids=str)
def test_a_doubtful_stamp_is_not_guessed(texts: tuple[str, str]) -> None:
    ns, _, messages = stamp_ns(*texts, month_first=False)
    assert ns is None
    assert len(messages) == 1
    assert "so times count from 1970" in messages[0]


@pytest.mark.parametrize("texts", [*READ, *UNREADABLE], ids=str)
@pytest.mark.parametrize("revision", ["1991", "1999", "2013"])
def test_no_stamp_hinders_reading(tmp_path: Path, texts: tuple[str, str], revision: str) -> None:
    written = healthy(tmp_path, revision=revision)
    lines = written.path.read_text().split("\n")
    places = [k for k, line in enumerate(lines) if "03:04:05" in line]
    for place in places:
        lines[place] = ",".join(texts) if texts[1] else texts[0]
    written.path.write_text("\n".join(lines))
    record = open_waveforms(written.path)
    assert [(part.rate_hz, len(part)) for part in record.segments] == [(4800, 960)]
    warnings = [finding for finding in record.findings if finding.level == "warning"]
    if texts in READ:
        assert warnings == []
        if revision != "1991":
            assert record.start_ns == READ[texts]
    else:
        assert record.start_ns == 0 or revision == "1991"
        assert [finding.code for finding in warnings] in (["start-time"], ["no-start-time"], [])


@given(
    moment=st.datetimes(datetime(1970, 1, 2), datetime(2068, 12, 31)),
    form=st.sampled_from(
        ["%d/%m/%Y,%H:%M:%S.%f", "%d.%m.%y,%H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f", "%d-%b-%Y,%H%M%S.%f"]
    ),
)
def test_every_moment_is_read_in_every_form(moment: datetime, form: str) -> None:
    line = moment.strftime(form)
    date, _, time = line.partition(",")
    assert looks_like_stamp(line)
    ns, fine, messages = stamp_ns(date, time, month_first=False)
    assert (fine, messages) == (False, [])
    since = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    assert ns == (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
