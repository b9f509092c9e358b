"""Find the faults in COMTRADE records.

Run it on your own records, or without arguments on a record that it simulates first:

    python examples/detect_comtrade.py fault.cfg other.cff
    python examples/detect_comtrade.py

It prints one line per fault: file, line, class, inception in seconds after the record's first sample, duration (unless
the record ends before the fault) and confidence. For a line without a fault it prints "no fault", or "not judged" with
the reason. CSV and Parquet tables of waveforms work as well. No broker is needed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

import faultline

RATED_A, RATED_V = 400.0, 110_000.0
PEAK = [RATED_A * np.sqrt(2)] * 3 + [RATED_V * np.sqrt(2 / 3)] * 3
"""Amperes and volts (phase to ground) that are one per unit: the peaks of the rated values."""
STEP = 1e-3
"""Resolution of the simulated record, per unit."""


def detect(paths: list[str]) -> int:
    """Print the faults of every file. Return 1 if a file could not be read, else 0."""
    failed = 0
    for result in faultline.detect(paths):
        if result.error is not None:  # a file that cannot be read does not stop the others
            print(result.error, file=sys.stderr)
            failed = 1
        elif not result.answers:
            print(f"{result.path.name}: not judged: {result.reason}")
        for answer in result.answers:
            if answer.verdict != "fault":
                because = f": {answer.reason}" if answer.reason else ""
                print(f"{result.path.name} {answer.line.name}: {answer.verdict}{because}")
        for episode in result.episodes:
            lasted = "" if episode.duration_s is None else f" for {1000 * episode.duration_s:.0f} ms"
            print(
                f"{result.path.name} {episode.line}: {episode.fault_class} at {episode.inception_s:.3f} s{lasted},"
                f" confidence {episode.confidence:.1%}"
            )
    return failed


def simulated_record(folder: Path) -> Path:
    """Simulate a feeder for 13 s and write it as an ASCII COMTRADE record: a .cfg and a .dat file."""
    record = faultline.scenario(lines=1, seconds=13, seed=4)
    counts = np.round(record.samples[0] / STEP).astype(int)
    header = ["Substation,Recorder,1999", "6,6A,0D"]  # IEEE C37.111-1999, six analogue channels, no status channels
    for number, (name, peak) in enumerate(zip(("IA", "IB", "IC", "VA", "VB", "VC"), PEAK, strict=True), start=1):
        unit, ratio = ("A", f"{RATED_A:g},1") if name[0] == "I" else ("V", f"{RATED_V:g},100")  # of the transformers
        header.append(f"{number},{name},{name[1]},Feeder 7,{unit},{peak * STEP:.9g},0,0,-99999,99999,{ratio},P")
    times = ["01/01/2026,12:00:00.000000"] * 2  # of the first sample and of the trigger
    header += ["50", "1", f"{record.rate_hz:g},{len(counts)}", *times, "ASCII", "1"]
    path = folder / "simulated.cfg"
    path.write_text("\n".join(header) + "\n")
    numbers = np.arange(len(counts))
    rows = np.column_stack([numbers + 1, np.round(numbers * 1e6 / record.rate_hz).astype(int), counts])
    np.savetxt(path.with_suffix(".dat"), rows, fmt="%d", delimiter=",")
    return path


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(detect(sys.argv[1:] or [str(simulated_record(Path(temporary)))]))
