"""Output files of PSCAD, written with their listing as the simulator writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from domains.powerline.waveforms import ReadOptions, RecordError, is_record, open_waveforms
from domains.powerline.waveforms.formats.pscad import read_pscad
from tests.domains.powerline.waveforms.formats.pscad_samples import NAMES, UNITS, WAVES, write_run


@pytest.mark.parametrize("name", ["case_01.out", "case.inf"])
def test_either_file_of_a_run_reads_the_run(tmp_path: Path, name: str) -> None:
    write_run(tmp_path, WAVES)
    record = open_waveforms(tmp_path / name)
    assert record.format == "PSCAD output"
    line = record.lines[0]
    scale = np.array([line.current_base] * 3 + [line.voltage_base] * 3)
    np.testing.assert_allclose(line.samples * scale, WAVES * 1000, rtol=1e-5, atol=0.5)
    assert record.segments[0].rate_hz == pytest.approx(4000)
    assert not [finding for finding in record.findings if finding.level == "warning"]


def test_a_run_of_three_files_is_joined_by_the_numbers_of_the_listing(tmp_path: Path) -> None:
    samples = np.concatenate([np.outer(np.cos(np.arange(400)), np.arange(1, 20)), WAVES], axis=1)
    names = (*(f"Signal {k}" for k in range(1, 20)), *NAMES)
    write_run(tmp_path, samples, names=names, units=(*[""] * 19, *UNITS))
    raw = read_pscad(tmp_path / "case_02.out", ReadOptions())
    assert [channel.name for channel in raw.channels] == list(names)
    np.testing.assert_allclose(raw.source.read(range(25)).T, samples, rtol=1e-6, atol=1e-6)
    assert open_waveforms(tmp_path / "case_03.out").lines[0].sources["ia"] == "20 Ia"


def test_a_missing_file_leaves_the_names_of_the_others(tmp_path: Path) -> None:
    samples = np.concatenate([WAVES, np.ones((400, 14))], axis=1)
    names = (*NAMES, *(f"S{k}" for k in range(14)))
    path = write_run(tmp_path, samples, names=names, units=(*UNITS, *[""] * 14))
    (tmp_path / "case_02.out").unlink()
    raw = read_pscad(path, ReadOptions())
    assert [channel.name for channel in raw.channels] == list(names[:10])
    assert [finding.code for finding in raw.findings if finding.level == "warning"] == ["channels-absent"]


def test_without_a_listing_channels_have_numbers(tmp_path: Path) -> None:
    path = write_run(tmp_path, WAVES, listing=False)
    record = open_waveforms(path, options=ReadOptions(channels="line: ia=1 ib=2 ic=3 va=4 vb=5 vc=6"))
    assert [channel.name for channel in record.channels] == ["1", "2", "3", "4", "5", "6"]
    assert "no-listing" in {finding.code for finding in record.findings}
    assert len(record.lines) == 1


def test_equal_names_in_groups_are_told_apart(tmp_path: Path) -> None:
    samples = np.concatenate([WAVES, WAVES / 2], axis=1)
    path = write_run(
        tmp_path, samples, names=(*NAMES, *NAMES), units=(*UNITS, *UNITS), groups=(*["Bus 1"] * 6, *["Bus 2"] * 6)
    )
    raw = read_pscad(path, ReadOptions())
    assert raw.channels[0].name == "Bus 1|Ia"
    assert raw.channels[11].name == "Bus 2|Vc"
    assert {channel.circuit for channel in raw.channels} == {"Bus 1", "Bus 2"}


@pytest.mark.parametrize("title", ["", "2024", "1.0 2.0 3.0", "Fault at 0.5 s on line 3"])
def test_the_first_line_is_a_title_even_if_it_has_numbers(tmp_path: Path, title: str) -> None:
    raw = read_pscad(write_run(tmp_path, WAVES, title=title), ReadOptions())
    assert raw.source.shape == (6, 400)


def test_numbers_that_fortran_cannot_fit_are_read(tmp_path: Path) -> None:
    samples = WAVES.copy()
    samples[3, 0], samples[4, 0] = 1.5e-120, -2.5e-101
    path = write_run(tmp_path, samples)
    text = path.read_text()
    assert "-100" in text
    rows = text.split("\n")
    rows[8] = rows[8][:22] + "*" * 22 + rows[8][44:]
    path.write_text("\n".join(rows))
    values = read_pscad(path, ReadOptions()).source.read([0])[0]
    assert values[3] == pytest.approx(0, abs=1e-30)
    assert np.flatnonzero(np.isnan(values)).tolist() == [7]


def test_files_of_another_length_are_cut_to_the_shortest(tmp_path: Path) -> None:
    path = write_run(tmp_path, np.concatenate([WAVES, WAVES], axis=1), listing=False)
    second = tmp_path / "case_02.out"
    second.write_text("\n".join(second.read_text().split("\n")[:201]) + "\n")
    raw = read_pscad(path, ReadOptions())
    assert raw.source.shape == (12, 200)
    assert "data-cut" in {finding.code for finding in raw.findings}


def test_files_of_two_runs_are_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path, np.concatenate([WAVES, WAVES], axis=1))
    second = tmp_path / "case_02.out"
    rows = second.read_text().split("\n")
    second.write_text("\n".join([rows[0], *rows[5:]]) + "\n")
    with pytest.raises(RecordError, match=r"times of case_02\.out differ from those of case_01\.out"):
        read_pscad(path, ReadOptions())


def test_a_broken_number_names_file_and_line(tmp_path: Path) -> None:
    path = write_run(tmp_path, WAVES)
    rows = path.read_text().split("\n")
    rows[30] = rows[30][:-3] + "xyz"
    path.write_text("\n".join(rows))
    with pytest.raises(RecordError, match=r"case_01\.out, line 31: .*xyz"):
        read_pscad(path, ReadOptions())


def test_a_listing_without_output_says_what_is_missing(tmp_path: Path) -> None:
    write_run(tmp_path, WAVES)
    (tmp_path / "case_01.out").unlink()
    with pytest.raises(RecordError, match=r"no output file case_01\.out"):
        read_pscad(tmp_path / "case.inf", ReadOptions())


def test_other_files_of_the_same_suffix_are_no_output(tmp_path: Path) -> None:
    for name, content in (
        ("log.out", b"started\nstopped\n"),
        ("a.out", bytes(range(256)) * 20),
        ("record.inf", b"[Public Record_Information]\nSource=REC\n"),
        ("empty.out", b""),
    ):
        (tmp_path / name).write_bytes(content)
        assert not is_record(tmp_path / name), name
