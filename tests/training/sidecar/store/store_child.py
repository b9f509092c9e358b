"""A process that fills a store until it is killed, and prints after every flush how many windows are safe.

Every window comes three times, and small limits make the store drop recent ones often. With the argument ``label`` it
flushes, applies one label, and kills itself.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from model.spec import load_spec
from stream.contract import WindowLabel
from training.sidecar.store.store import LabelledStore
from training.sidecar.store.tiers import StoreLimits

SPEC = load_spec("line")
STEP = 20
LIMITS = StoreLimits(pending_windows=50, recent_bytes=60_000)


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


def label(folder: Path) -> None:
    """Kill this process between a label and the next flush."""
    store = LabelledStore(folder)
    index = np.arange(60)
    times = 1_767_225_600_000_000_000 + index * 5_000_000
    store.add("a", SPEC, times, index, np.zeros((60, *SPEC.window_shape), np.float32))
    store.flush()
    given = WindowLabel(
        label_id="one",
        line="a",
        spec="line",
        fault_class="AG",
        first_ns=int(times[10]),
        last_ns=int(times[29]),
        by="test",
        at=datetime(2026, 1, 2, tzinfo=UTC),
    )
    assert store.apply(given).windows == 20
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    (label if "label" in sys.argv else main)(Path(sys.argv[1]))
