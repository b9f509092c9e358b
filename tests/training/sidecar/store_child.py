"""A process that fills a store until it is killed, and prints after every flush how many windows are safe.

Windows come three times over, and small limits have the store drop recent ones often.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np

from model.spec import load_spec
from training.sidecar.store.store import LabelledStore
from training.sidecar.store.tiers import StoreLimits

SPEC = load_spec("line")
STEP = 20
LIMITS = StoreLimits(segment_windows=50, recent_bytes=60_000)


def main(folder: Path) -> None:
    """Fill the store in ``folder``."""
    with LabelledStore(folder, LIMITS) as store:
        for number in itertools.count():
            index = np.arange(number * STEP, (number + 1) * STEP)
            data = np.broadcast_to(index[:, None, None], (STEP, *SPEC.window_shape)).astype(np.float32)
            times = 10**18 + index * 5_000_000
            for _ in range(3):
                store.add("kept", SPEC, times, index, data, index % 12)
                store.add("ring", SPEC, times, index, data)
            store.flush()
            print((number + 1) * STEP, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
