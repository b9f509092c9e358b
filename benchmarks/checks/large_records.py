"""Measure time and peak memory of large COMTRADE records, for this reader and for the ``comtrade`` package.

python -m benchmarks.checks.large_records

Every measurement runs in a process of its own. "read" opens a record, finds its lines and cuts their windows; the
package only loads the file, since it does no more.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAINS_HZ = 50.0
PEAKS = np.array([400.0] * 3 + [89_800.0] * 3)
STORED_TYPES = {"BINARY": "<i2", "FLOAT32": "<f4"}
STORED_TOP = 32_000
ASCII_ROWS = 500
"""Number of rows that are formatted at a time."""


@dataclass(frozen=True)
class Case:
    """A record to write: six channels of one line, and channels without a line."""

    name: str
    data_format: str
    channels: int
    rate_hz: float
    rows: int


CASES = (
    Case("2,200 channels", "ASCII", 2200, 5000.0, 5200),
    Case("2,200 channels", "BINARY", 2200, 5000.0, 5200),
    Case("2,200 channels", "FLOAT32", 2200, 5000.0, 5200),
    Case("20 minutes", "ASCII", 8, 1000.0, 1_200_000),
    Case("20 minutes", "BINARY", 8, 1000.0, 1_200_000),
)
READERS = ("ours", "statistics", "comtrade")


def main() -> int:
    """Run the check and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--without-package", action="store_true", help="measure only this reader")
    parser.add_argument("--measure", nargs=2, metavar=("READER", "FILE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure[0], Path(given.measure[1]))))
        return 0
    print(
        "record            format    size       read            with statistics   comtrade        ratio of time, memory"
    )
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            path = write(case, Path(folder))
            size = path.with_suffix(".dat").stat().st_size / 1e6
            found = {r: in_process(r, path) for r in READERS if r != "comtrade" or not given.without_package}
            cells = [f"{s:6.2f} s {mib:5.0f} MiB" for s, mib in found.values()]
            if "comtrade" in found:
                (ours_s, ours_mib), (their_s, their_mib) = found["ours"], found["comtrade"]
                cells.append(f"{their_s / ours_s:5.1f} {their_mib / max(ours_mib, 1.0):5.1f}")
            print(f"{case.name:17} {case.data_format:8} {size:5.0f} MB  {'  '.join(cells)}", flush=True)
    return 0


def in_process(reader: str, path: Path) -> tuple[float, float]:
    """Return seconds and MiB of one reader in a new process; the memory of the imports is subtracted."""
    command = [sys.executable, "-m", "benchmarks.checks.large_records", "--measure", reader, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, mib = json.loads(done.stdout.splitlines()[-1])
    return float(seconds), float(mib)


def measure(reader: str, path: Path) -> tuple[float, float]:
    """Read a record, and return the seconds and the growth of the peak memory in MiB."""
    import comtrade

    from domains.powerline.waveforms import open_waveforms, windows_of
    from model.spec import load_spec

    spec = load_spec("line")
    before, began = peak_mib(), time.perf_counter()
    if reader == "comtrade":
        record = comtrade.Comtrade(ignore_warnings=True, use_numpy_arrays=True)
        record.load(str(path), str(path.with_suffix(".dat")))
    else:
        ours = open_waveforms(path)
        if not ours.lines or not all(len(windows_of(line, spec)) for line in ours.lines):
            raise SystemExit(f"{path}: no windows: {[str(finding) for finding in ours.findings]}")
        if reader == "statistics":
            list(ours.channels)
    return time.perf_counter() - began, peak_mib() - before


def peak_mib() -> float:
    """Return the peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write(case: Case, folder: Path) -> Path:
    """Write the record of a case, and return its header."""
    peaks = np.concatenate([PEAKS, np.full(case.channels - 6, 100.0)])
    gains = np.ones(case.channels) if case.data_format == "FLOAT32" else 1.2 * peaks / STORED_TOP
    names = ["IA", "IB", "IC", "VA", "VB", "VC", *(f"AUX {k}" for k in range(7, case.channels + 1))]
    units = ["A"] * 3 + ["V"] * 3 + ["bar"] * (case.channels - 6)
    lines = ["STATION,RECORDER,1999", f"{case.channels},{case.channels}A,0D"]
    lines += [
        f"{k},{name},,,{unit},{gain:.9g},0,0,-999999,999999,1,1,P"
        for k, (name, unit, gain) in enumerate(zip(names, units, gains, strict=True), 1)
    ]
    clock = "01/02/2024,03:04:05.000000"
    lines += [f"{MAINS_HZ:g}", "1", f"{case.rate_hz:g},{case.rows}", clock, clock, case.data_format, "1"]
    path = folder / "large.cfg"
    path.write_text("\r\n".join(lines) + "\r\n")
    with path.with_suffix(".dat").open("wb") as file:
        for first in range(0, case.rows, ASCII_ROWS):
            index = np.arange(first, min(first + ASCII_ROWS, case.rows))
            file.write(_rows(case, index, _waves(case, index, peaks) / gains))
    return path


def _waves(case: Case, index: NDArray[np.int64], peaks: NDArray[np.float64]) -> NDArray[np.float64]:
    turns = 2 * np.pi * (MAINS_HZ * index[:, None] / case.rate_hz - np.arange(case.channels) % 3 / 3)
    return np.asarray(np.cos(turns) * peaks)


def _rows(case: Case, index: NDArray[np.int64], stored: NDArray[np.float64]) -> bytes:
    stamps = np.round(index * 1e6 / case.rate_hz).astype(np.int64)
    if case.data_format == "ASCII":
        whole = np.column_stack([index + 1, stamps, np.round(stored).astype(np.int64)])
        return ("\r\n".join(",".join(map(str, row)) for row in whole.tolist()) + "\r\n").encode()
    row = np.dtype([("n", "<u4"), ("t", "<u4"), ("v", STORED_TYPES[case.data_format], (case.channels,))])
    rows = np.zeros(len(index), row)
    rows["n"], rows["t"] = index + 1, stamps
    rows["v"] = stored if case.data_format == "FLOAT32" else np.round(stored)
    return rows.tobytes()


if __name__ == "__main__":
    sys.exit(main())
