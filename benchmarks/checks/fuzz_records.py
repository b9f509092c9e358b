"""Read a corpus of broken waveform files, and print crashes, hangs and peak memory.

python -m benchmarks.checks.fuzz_records --files 10000

The exit status is 1 if a file caused a crash or a hang, or if memory grew without bound.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from domains.powerline.waveforms import RecordError, open_waveforms, windows_of
from model.spec import load_spec
from tests.domains.powerline.waveforms.mutations import seeds, write_mutated

HANG_S = 5.0
MEMORY_MIB = 300.0
"""Growth of memory from which it counts as unbounded: the files have kilobytes."""


def main() -> int:
    """Run the check; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000, help="number of broken files")
    parser.add_argument("--seed", type=int, default=1, help="seed of the mutations")
    chosen = parser.parse_args()
    rng = random.Random(chosen.seed)
    spec = load_spec("line")
    outcomes: Counter[str] = Counter()
    slowest, start_mib = 0.0, _peak_mib()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = seeds(folder / "seeds")
        for number in range(chosen.files):
            path = write_mutated(rng, rng.choice(whole), folder, f"f{number % 8}")
            started = time.monotonic()
            outcome = _read(path, number, spec)
            taken = time.monotonic() - started
            outcomes[outcome] += 1
            outcomes["hang"] += taken > HANG_S
            slowest = max(slowest, taken)
    grown = _peak_mib() - start_mib
    print(
        f"{chosen.files:,} broken files in {time.monotonic() - began:.0f} s: {outcomes['read']:,} readable, "
        f"{outcomes['error']:,} clear errors, {outcomes['crash']} crashes, {outcomes['hang']} hangs over {HANG_S:g} s; "
        f"slowest file {1000 * slowest:.0f} ms, peak memory {_peak_mib():.0f} MiB (+{grown:.0f} MiB)"
    )
    return int(outcomes["crash"] + outcomes["hang"] > 0 or grown > MEMORY_MIB)


def _read(path: Path, number: int, spec: object) -> str:
    try:
        record = open_waveforms(path)
        len(list(record.channels))
        for line in record.lines:
            windows_of(line, spec)  # type: ignore[arg-type]
    except RecordError as error:
        if "\n" in str(error) or path.stem not in str(error):
            print(f"file {number}: the error is not one line that names the file: {error!r}", file=sys.stderr)
            return "crash"
        return "error"
    except BaseException:
        print(f"file {number}:", file=sys.stderr)
        traceback.print_exc()
        return "crash"
    return "read"


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
