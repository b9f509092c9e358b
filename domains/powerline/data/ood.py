"""Choosing, on data, the bounds beyond which a window is called unknown, and evaluating them.

Peaks and change are bounded by what simulated lines show, with room beyond: the strongest fault is the last window
to be refused. Roughness has a bound as high as white noise allows, since there good windows and strange ones meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domains.powerline.data.classdata import read_classdata
from domains.powerline.rejection import FEWEST_SAMPLES, Measures, PowerLineRejection, measure
from domains.powerline.simulator.episodes import simulate
from domains.powerline.simulator.measurement import HARSH, USUAL
from model.spec import SignalSpec, load_spec
from stream.windowing import cut_windows
from training.data.windows import Windows, select
from training.errors import TrainingError

MOST_GOOD_REJECTED = 0.005
NOISE_ACCEPTED = 0.01  # of the noise that the bound on roughness is chosen by
ROOM = 2.0  # between the highest peak seen and the bound, and between the smallest change and its bound
# Standard deviation per unit: what is quieter cannot be told from a dead line's noise, nor need it be.
NOISE_PER_UNIT = (0.3, 10.0)
CONSTANT_PER_UNIT = 2.0
CLASSDATA_SCALE = 1000.0


def ood_windows(spec: SignalSpec, seed: int, count: int = 4000) -> dict[str, NDArray[np.float32]]:
    """Return windows that no line sends, each float32 (count, samples, channels): white noise and constants."""
    rng = np.random.default_rng(seed)
    shape = (count, *spec.window_shape)
    quietest, loudest = np.log(NOISE_PER_UNIT)
    deviation = np.exp(rng.uniform(quietest, loudest, (count, 1, 1)))
    held = rng.uniform(-CONSTANT_PER_UNIT, CONSTANT_PER_UNIT, (count, 1, len(spec.channels)))
    return {
        "white noise": (deviation * rng.standard_normal(shape)).astype(np.float32),
        "constants": np.broadcast_to(held, shape).astype(np.float32),
    }


def scaled_classdata(path: Path, spec: SignalSpec) -> NDArray[np.float32]:
    """Return ``classData.csv`` times 1000, in ampere and per unit, as windows of ``spec`` within each of its runs.

    Raises:
        DataSetError: the file is not ``classData.csv``.
    """
    rows = read_classdata(path, load_spec("instant"))
    runs = [rows.data[rows.episode == run, 0] for run in np.unique(rows.episode)]
    windows = [cut_windows(run * np.float32(CLASSDATA_SCALE), spec) for run in runs if len(run) >= spec.samples]
    return np.ascontiguousarray(np.concatenate(windows))


def in_distribution_windows(spec: SignalSpec, seed: int, episodes: int = 200, *, harsh: bool = False) -> Windows:
    """Simulate every window, faulty and quiet, of ``episodes`` mixed lines with usual or with faulty instruments."""
    drawn = simulate(episodes, seed, length_cycles=40.0, instruments=HARSH if harsh else USUAL)
    return select(drawn, spec)


def fit_rejection(good: NDArray[np.float32], spec: SignalSpec, seed: int) -> PowerLineRejection:
    """Choose the bounds.

    Args:
        good: windows float32 (n, samples, channels) of lines as training knows them.
        spec: of the windows.
        seed: of the noise.

    Raises:
        TrainingError: bounds that refuse noise would refuse more than 0.5 % of ``good``.
    """
    seen = _measures(good, spec)
    noise = _measures(ood_windows(spec, seed)["white noise"], spec)
    moving = seen.change[seen.change > 0]
    long_enough = spec.samples >= FEWEST_SAMPLES
    chosen = PowerLineRejection.for_spec(
        spec,
        most_current=_plain(ROOM * float(seen.current.max())),
        most_voltage=_plain(ROOM * float(seen.voltage.max())),
        least_change=_plain(float(moving.min()) / ROOM) if long_enough and len(moving) else 0.0,
        most_roughness=_plain(float(np.quantile(noise.roughness, NOISE_ACCEPTED))) if long_enough else None,
    )
    refused = float(chosen.is_ood(good).mean())
    if refused > MOST_GOOD_REJECTED:
        raise TrainingError(
            f"bounds that refuse white noise refuse {refused:.2%} of the good windows too (at most"
            f" {MOST_GOOD_REJECTED:.1%}): are these windows per unit, {spec.period_samples} samples a cycle?"
        )
    return chosen


def line_rejection(spec: SignalSpec, seed: int) -> PowerLineRejection:
    """Simulate lines with usual and with faulty instruments, and choose the bounds for both."""
    both = [in_distribution_windows(spec, seed + harsh, harsh=bool(harsh)).data for harsh in (0, 1)]
    return fit_rejection(np.concatenate(both), spec, seed)


@dataclass(frozen=True)
class RejectionScores:
    """Which part of the windows is refused: of good ones, of those with a fault, and of strange ones by kind."""

    good: float
    faulty: float
    strange: dict[str, float]

    def as_metrics(self) -> dict[str, float]:
        """Return the parts by name, rounded for a manifest."""
        parts = {"good": self.good, "faulty": self.faulty, **self.strange}
        return {name: round(part, 5) for name, part in parts.items()}


def score_rejection(
    rejection: PowerLineRejection, good: Windows, strange: dict[str, NDArray[np.float32]], spec: SignalSpec
) -> RejectionScores:
    """Evaluate bounds by windows that they were not chosen on."""
    refused = rejection.is_ood(good.data)
    faulty = good.labels != spec.none_index
    return RejectionScores(
        good=float(refused.mean()),
        faulty=float(refused[faulty].mean()) if faulty.any() else 0.0,
        strange={name: float(rejection.is_ood(windows).mean()) for name, windows in strange.items()},
    )


def _measures(windows: NDArray[np.float32], spec: SignalSpec) -> Measures:
    whole = PowerLineRejection.for_spec(spec, most_current=1, most_voltage=1, least_change=0, most_roughness=None)
    return measure(windows, whole.currents, whole.voltages, whole.samples_per_cycle)


def _plain(value: float) -> float:
    """Three digits are enough for a bound, and readable in a manifest."""
    return float(f"{value:.3g}")
