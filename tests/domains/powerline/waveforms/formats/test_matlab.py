"""MATLAB files: what people save from the workspace, what Simulink writes, and what must be refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from domains.powerline.waveforms import ReadOptions, Record, RecordError, open_waveforms
from domains.powerline.waveforms.formats.matlab.files import read_matlab
from tests.domains.powerline.waveforms.formats.matlab_samples import COLUMNS, UNLABELLED, VARIABLES, WAVES, T


def saved(folder: Path, variables: dict[str, Any], **how: Any) -> Path:
    path = folder / "record.mat"
    savemat(path, variables, **how)
    return path


def assert_waves(record: Record) -> None:
    assert record.lines, [str(finding) for finding in record.findings]
    line = record.lines[0]
    scale = np.array([line.current_base] * 3 + [line.voltage_base] * 3)
    np.testing.assert_allclose(line.samples * scale, WAVES, rtol=1e-5, atol=0.5)
    assert record.segments[0].rate_hz == pytest.approx(4800, rel=1e-3)


FLAT = {"vectors", "rows", "matrices", "matrices across", "rate", "milliseconds", "sample numbers", "units in names"}


@pytest.mark.parametrize("kind", VARIABLES)
@pytest.mark.parametrize("compressed", [False, True])
def test_variables_are_understood(tmp_path: Path, kind: str, compressed: bool) -> None:
    assert_waves(open_waveforms(saved(tmp_path, VARIABLES[kind], do_compression=compressed)))


@pytest.mark.parametrize("kind", sorted(FLAT))
def test_version_4_is_read(tmp_path: Path, kind: str) -> None:
    assert_waves(open_waveforms(saved(tmp_path, VARIABLES[kind], format="4")))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("vectors", ["ia", "ib", "ic", "va", "vb", "vc"]),
        ("matrices", ["Iabc:1", "Iabc:2", "Iabc:3", "Vabc:1", "Vabc:2", "Vabc:3"]),
        ("struct", ["data.ia", "data.ib", "data.ic", "data.va", "data.vb", "data.vc"]),
        ("simulink scope", ["Iabc:1", "Iabc:2", "Iabc:3", "Vabc:1", "Vabc:2", "Vabc:3"]),
        ("imported", ["ia", "ib", "ic", "va", "vb", "vc"]),
        ("timeseries as structs", ["ia", "ib", "ic", "va", "vb", "vc"]),
    ],
)
def test_channels_are_named_by_the_path_of_the_variable(tmp_path: Path, kind: str, names: list[str]) -> None:
    raw = read_matlab(saved(tmp_path, VARIABLES[kind]), ReadOptions())
    assert [channel.name for channel in raw.channels] == names


def test_signals_without_labels_have_numbers(tmp_path: Path) -> None:
    variables = {"Scope": {"time": T, "signals": UNLABELLED, "blockName": "model/Scope"}}
    names = [channel.name for channel in read_matlab(saved(tmp_path, variables), ReadOptions()).channels]
    assert names == ["Scope(1):1", "Scope(1):2", "Scope(1):3", "Scope(2):1", "Scope(2):2", "Scope(2):3"]


def test_units_are_taken_from_names_and_from_a_variable(tmp_path: Path) -> None:
    raw = read_matlab(saved(tmp_path, VARIABLES["units in names"]), ReadOptions())
    assert [(channel.name, channel.unit) for channel in raw.channels][0::5] == [("ia", "kA"), ("vc", "kV")]
    raw = read_matlab(saved(tmp_path, VARIABLES["data and names"]), ReadOptions())
    assert [channel.unit for channel in raw.channels] == ["A"] * 3 + ["V"] * 3


def test_variables_of_another_length_are_named(tmp_path: Path) -> None:
    record = open_waveforms(saved(tmp_path, VARIABLES["with other lengths"]))
    assert any("rms do not have 480 samples" in finding.message for finding in record.findings)


def test_without_times_and_rate_the_rate_is_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path, COLUMNS)
    with pytest.raises(RecordError, match="set the sampling rate with --rate"):
        open_waveforms(path)
    assert_waves(open_waveforms(path, options=ReadOptions(rate_hz=4800)))


def test_version_7_3_says_how_to_save_it(tmp_path: Path) -> None:
    path = tmp_path / "new.mat"
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM"
    path.write_bytes(header.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(RecordError, match=r"version 7\.3 .* save it again with save\('new\.mat', …, '-v7'\)"):
        open_waveforms(path)


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(class_of: int, dims: tuple[int, ...], name: bytes, content: bytes) -> bytes:
    head = element(6, struct.pack("<II", class_of, 0)) + element(5, struct.pack(f"<{len(dims)}i", *dims))
    return element(14, head + element(1, name) + content)


def written(folder: Path, *elements: bytes) -> Path:
    path = folder / "made.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H2s", 0x0100, b"IM") + b"".join(elements))
    return path


def compressed(content: bytes) -> bytes:
    packed = zlib.compress(content)
    return struct.pack("<II", 15, len(packed)) + packed


def test_the_writer_of_these_tests_makes_valid_files(tmp_path: Path) -> None:
    doubles = [matrix(6, (480, 1), n.encode(), element(9, v.tobytes())) for n, v in {"t": T, **COLUMNS}.items()]
    assert_waves(open_waveforms(written(tmp_path, *doubles)))
    assert_waves(open_waveforms(written(tmp_path, *(compressed(part) for part in doubles))))


@pytest.mark.parametrize(
    ("elements", "says"),
    [
        pytest.param([matrix(4, (1, 2**31 - 1), b"x", element(4, b""))], "claims", id="text without letters"),
        pytest.param([matrix(1, (2**15, 2**15), b"x", b"")], "claims", id="cells without content"),
        pytest.param([matrix(6, (-1, 4), b"x", b"")], "impossible", id="negative"),
        pytest.param([struct.pack("<II", 14, 2**32 - 1)], "ends within a variable", id="cut"),
        pytest.param([struct.pack("<II", 15, 4) + b"abcd"], "damaged", id="not compressed"),
        pytest.param([struct.pack("<II", 99, 0)], "unknown type 99", id="unknown"),
    ],
)
def test_claims_of_a_file_bound_nothing(tmp_path: Path, elements: list[bytes], says: str) -> None:
    with pytest.raises(RecordError, match=says) as caught:
        open_waveforms(written(tmp_path, *elements))
    assert "\n" not in str(caught.value)


def test_empty_values_are_no_damage(tmp_path: Path) -> None:
    doubles = [matrix(6, (480, 1), n.encode(), element(9, v.tobytes())) for n, v in {"t": T, **COLUMNS}.items()]
    cell = matrix(1, (1, 2), b"c", element(14, b"") + matrix(4, (1, 1), b"", element(16, b"x")))
    assert_waves(open_waveforms(written(tmp_path, *doubles, cell, matrix(6, (0, 0), b"e", element(9, b"")))))


@pytest.mark.parametrize(
    "inner",
    [
        pytest.param(element(20, bytes(8)), id="unknown type"),
        pytest.param(element(8, bytes(8)), id="reserved type"),
        pytest.param(element(14, b""), id="a value in place of numbers"),
        pytest.param(b"", id="no numbers"),
    ],
)
@pytest.mark.parametrize("class_of", [4, 6, 9])
def test_elements_that_would_crash_the_library_are_refused(tmp_path: Path, class_of: int, inner: bytes) -> None:
    wrong = matrix(class_of, (1, 1), b"x", inner)
    nested = matrix(1, (1, 2), b"c", wrong + wrong)
    for content in (wrong, nested):
        with pytest.raises(RecordError, match="a variable is damaged"):
            open_waveforms(written(tmp_path, content))


def test_values_that_unpack_without_measure_are_refused(tmp_path: Path) -> None:
    bomb = compressed(matrix(6, (1, 1_000_000), b"x", element(9, bytes(8_000_000))))
    with pytest.raises(RecordError, match="unpacked"):
        open_waveforms(written(tmp_path, bomb), options=ReadOptions(max_bytes=1_000_000))


def test_values_within_values_without_end_are_refused(tmp_path: Path) -> None:
    nested = matrix(6, (1, 1), b"", element(9, struct.pack("<d", 1.0)))
    for _ in range(5_000):
        nested = matrix(1, (1, 1), b"", nested)
    with pytest.raises(RecordError, match="too many values within values"):
        open_waveforms(written(tmp_path, nested))


@pytest.mark.parametrize("content", [b"", b"MATLAB", b"\0" * 200, b"x" * 500, b"\1\0\0\0" * 60])
def test_what_is_no_matlab_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.mat"
    path.write_bytes(content)
    with pytest.raises(RecordError, match="other"):
        open_waveforms(path)
