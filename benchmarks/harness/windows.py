"""Windows of the load: simulated lines in typical operation, and one fault that every contender finds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domains.powerline.data.scenario import scenario
from model.spec import SignalSpec, load_spec
from stream.windowing import cut_windows

LINES, SECONDS, SEED = 24, 6.4, 7
FAULT_SHARE = 0.1
"""Share of faults among the events, one every three seconds; most are switching and swings.

About one window in 300 is faulty.
"""
QUIET_S = 1.0
"""Quiet time at the beginning of a scenario on all lines, in seconds."""


@dataclass(frozen=True)
class SampleWindows:
    """Windows of the load, per unit.

    Attributes:
        lifelike: float32 (lines, n, samples, channels), lines with events.
        quiet: float32 (lines, m, samples, channels), lines without events.
        fault: float32 (k, samples, channels), k successive windows within one fault.
    """

    lifelike: NDArray[np.float32]
    quiet: NDArray[np.float32]
    fault: NDArray[np.float32]

    def save(self, path: Path) -> None:
        """Write the windows to an ``.npz`` file."""
        np.savez(path, lifelike=self.lifelike, quiet=self.quiet, fault=self.fault)

    @staticmethod
    def load(path: Path) -> SampleWindows:
        """Read a file of ``save``."""
        with np.load(path) as arrays:
            return SampleWindows(arrays["lifelike"], arrays["quiet"], arrays["fault"])


def sample_windows(spec: SignalSpec | None = None) -> SampleWindows:
    """Simulate the windows; the result is the same every time."""
    spec = spec or load_spec("line")
    record = scenario(LINES, SECONDS, seed=SEED, fault_share=FAULT_SHARE)
    lifelike = np.stack([cut_windows(samples, spec) for samples in record.samples])
    quiet = lifelike[:, : int((QUIET_S * record.rate_hz - spec.samples) // spec.hop)]
    return SampleWindows(np.ascontiguousarray(lifelike), np.ascontiguousarray(quiet), _heaviest_fault(spec))


def _heaviest_fault(spec: SignalSpec) -> NDArray[np.float32]:
    """Return windows that lie wholly within the fault with the largest current in a scenario of faults."""
    record = scenario(LINES, SECONDS, seed=SEED, fault_share=1.0)
    found: tuple[float, NDArray[np.float32]] | None = None
    for samples, labels, settled in zip(record.samples, record.labels, record.settled, strict=True):
        within = (labels > 0) & (labels == np.roll(labels, 1)) & settled
        windows = cut_windows(samples, spec)
        whole: NDArray[np.bool_] = np.lib.stride_tricks.sliding_window_view(within, spec.samples)[:: spec.hop].all(
            axis=1
        )  # type: ignore[assignment]
        for first, stop in _runs(whole):
            current = float(np.abs(windows[first:stop, :, :3]).max())
            if stop - first >= spec.episode.of and (found is None or current > found[0]):
                found = current, windows[first : first + spec.episode.of]
    assert found is not None, "a scenario of faults contains one that lasts long enough"
    return np.ascontiguousarray(found[1])


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return first index and end of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
