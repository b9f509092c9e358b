"""Measure the windows per second and the bytes per window of the labelled store.

``python -m benchmarks.checks.store`` adds the windows of simulated lines message by message, interleaved as in a topic,
with events and operators' labels on some of them, and flushes as the sidecar does. It prints figures for several sizes
of messages.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from domains.powerline.simulator.episodes import simulate
from model.spec import load_spec
from stream.contract import WindowLabel
from stream.windowing import cut_windows
from training.recipe import recipe_of
from training.sidecar.ingest import FLUSH_WINDOWS
from training.sidecar.store.store import LabelledStore
from training.sidecar.store.stretches import context_windows
from training.sidecar.store.tiers import StoreLimits

SPEC = load_spec("line")
STEPS = recipe_of(SPEC).steps
START_NS = 1_767_225_600_000_000_000
EVENT_WINDOWS = 40  # 0.2 s
LABELLED_SHARE = 0.02


def main() -> None:
    """Run the check and print its figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--lines", type=int, default=50, help="number of lines")
    options.add_argument("--windows", type=int, default=2048, help="windows of every line")
    options.add_argument("--seed", type=int, default=1, help="seed of the lines")
    options.add_argument("--per-message", type=int, nargs="+", default=[16, 4, 1], help="windows per message")
    options.add_argument("--labelled", action="store_true", help="use messages that already contain labels")
    given = options.parse_args()
    episodes = simulate(
        given.lines, given.seed, length_cycles=given.windows * SPEC.hop // (SPEC.period_samples or 1) + 2
    )
    lines = [np.ascontiguousarray(cut_windows(samples, SPEC)[: given.windows]) for samples in episodes.samples]
    for per_message in given.per_message:
        with tempfile.TemporaryDirectory() as folder:
            measure(lines, per_message, given.labelled, np.random.default_rng(given.seed), Path(folder))


def measure(lines: list[np.ndarray], per_message: int, labelled: bool, rng: np.random.Generator, folder: Path) -> None:
    """Fill a store and print time and size."""
    count, waiting = 0, 0
    hop_ns = round(SPEC.hop / SPEC.rate_hz * 1e9)
    begun, begun_cpu = time.perf_counter(), time.process_time()
    limits = StoreLimits(context_windows=context_windows(STEPS))
    with LabelledStore(folder / "store", limits) as store:
        for line, first in messages(lines, per_message):
            windows = lines[line][first : first + per_message]
            number = np.arange(first, first + len(windows))
            labels = np.full(len(windows), first // EVENT_WINDOWS % 3) if labelled else None
            store.add(f"feeder-{line}", SPEC, START_NS + number * hop_ns, number, windows, labels, "sensor-windows")
            count, waiting = count + len(windows), waiting + len(windows)
            if rng.random() < LABELLED_SHARE * len(windows) / EVENT_WINDOWS:
                first_ns, last_ns = (START_NS + place * hop_ns for place in (max(0, first - EVENT_WINDOWS), first))
                store.keep_near_event(f"feeder-{line}", SPEC, first_ns, last_ns)
                store.apply(label_of(f"feeder-{line}", first_ns, last_ns))
            if waiting >= FLUSH_WINDOWS:
                store.flush()
                waiting = 0
        store.flush()
        took, took_cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
        begun = time.perf_counter()
        store.snapshot(folder / "snapshot")
        snapshot_s = time.perf_counter() - begun
        summary = store.summary()[0]
        tiers = {**summary.windows, "context": summary.context}
    size = sum(path.stat().st_size for path in (folder / "store").iterdir())
    begun = time.perf_counter()
    with LabelledStore(folder / "store") as store:
        opening_s = time.perf_counter() - begun
    with LabelledStore(folder / "snapshot") as store:
        begun = time.perf_counter()
        sequences = store.sequences(SPEC, STEPS)
        reading_s = time.perf_counter() - begun
    print(
        f"{per_message} windows per message: {count / took_cpu:,.0f} windows per second of CPU time, "
        f"{count / took:,.0f} per second of wall time; {size / count:.0f} bytes per window "
        f"(its samples: {lines[0][0].nbytes}); {tiers}; snapshot {snapshot_s * 1e3:.0f} ms, "
        f"reading {len(sequences)} sequences {reading_s * 1e3:.0f} ms, opening {opening_s * 1e3:.0f} ms"
    )


def messages(lines: list[np.ndarray], per_message: int) -> Iterator[tuple[int, int]]:
    """Yield line and first window of every message, with the lines in turns."""
    for first in range(0, len(lines[0]), per_message):
        for line in range(len(lines)):
            yield line, first


def label_of(line: str, first_ns: int, last_ns: int) -> WindowLabel:
    """Return an operator's label on a range of windows."""
    return WindowLabel(
        label_id=f"{line}-{first_ns}",
        line=line,
        spec=SPEC.name,
        fault_class=SPEC.class_names[1],
        first_ns=first_ns,
        last_ns=last_ns,
        by="check",
        at=datetime(2026, 1, 2, tzinfo=UTC) + timedelta(seconds=first_ns % 1000),
    )


if __name__ == "__main__":
    main()
