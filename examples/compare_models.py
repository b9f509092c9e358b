"""Compare two models on the same recording before you replace one by the other.

Make a recording (or record your own with `faultline record`), then give it and two models:

    faultline simulate --lines 4 --seconds 30 --out recording.parquet
    python examples/compare_models.py recording.parquet line candidate.safetensors

A model is the path of an artefact or the name of one that ships with Faultline. It prints the faults on which the
models differ, and a summary. The exit status is 0 if both found the same faults and 3 if they did not, so that a
recording can be a regression test. No broker is needed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import faultline


def main(recording: str, first: str, second: str) -> int:
    """Print the faults on which two models differ, and return the exit status."""
    models = faultline.load_artefact(first), faultline.load_artefact(second)
    source = faultline.open_replay(Path(recording), models[0].manifest.spec)
    found = faultline.compare(source, *models)
    for pair in found.pairs:
        if pair.relation != "same":
            at_s = (pair.at_ns - found.begin_ns) / 1e9
            print(f"{pair.line} at {at_s:.3f} s, {pair.relation}: {'; '.join(pair.differences)}")
    same = sum(pair.relation == "same" for pair in found.pairs)
    print(
        f"{found.models[0]} and {found.models[1]}: {same} of {len(found.pairs)} faults are the same,"
        f" {found.windows_differ} of {found.windows} windows are classified differently"
    )
    return 0 if found.agree else 3


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(f"usage: {sys.argv[0]} RECORDING FIRST_MODEL SECOND_MODEL")
    sys.exit(main(*sys.argv[1:]))
