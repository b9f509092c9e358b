"""Choose from data the bounds beyond which a window counts as out of distribution, and evaluate them.

The bounds of peaks and change follow from simulated lines, with a margin, so that even the strongest fault is accepted.
The bound of roughness is as high as white noise allows, since the roughness of in-distribution and of
out-of-distribution windows overlaps.
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
NOISE_ACCEPTED = 0.01  # share of white-noise windows that the bound of roughness accepts
ROOM = 2.0  # factor between the highest peak seen and the bound, and between the smallest change and its bound
# Standard deviations per unit. Quieter noise cannot and need not be distinguished from that of a de-energised line.
NOISE_PER_UNIT = (0.3, 10.0)
CONSTANT_PER_UNIT = 2.0
CLASSDATA_SCALE = 1000.0


def ood_windows(spec: SignalSpec, seed: int, count: int = 4000) -> dict[str, NDArray[np.float32]]:
    """Return windows that no line produces, float32 (count, samples, channels) by kind: white noise and constants."""
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
    """Return windows of ``spec`` cut from each run of ``classData.csv``, with its values multiplied by 1000.

    Raises:
        DataSetError: the file is not ``classData.csv``.
    """
    rows = read_classdata(path, load_spec("instant"))
    runs = [rows.data[rows.episode == run, 0] for run in np.unique(rows.episode)]
    windows = [cut_windows(run * np.float32(CLASSDATA_SCALE), spec) for run in runs if len(run) >= spec.samples]
    return np.ascontiguousarray(np.concatenate(windows))


def in_distribution_windows(spec: SignalSpec, seed: int, episodes: int = 200, *, harsh: bool = False) -> Windows:
    """Simulate ``episodes`` mixed lines with usual or with harsh instruments, and return all their windows."""
    drawn = simulate(episodes, seed, length_cycles=40.0, instruments=HARSH if harsh else USUAL)
    return select(drawn, spec)


def fit_rejection(good: NDArray[np.float32], spec: SignalSpec, seed: int) -> PowerLineRejection:
    """Choose the bounds.

    Args:
        good: windows float32 (n, samples, channels) of lines like those of training.
        spec: spec of the windows.
        seed: seed of the white noise.

    Raises:
        TrainingError: bounds that reject noise would reject more than 0.5 % of ``good``.
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
            f"the bounds that reject white noise also reject {refused:.2%} of the in-distribution windows, more than"
            f" {MOST_GOOD_REJECTED:.1%}: check that windows are per unit, with {spec.period_samples} samples per cycle"
        )
    return chosen


def line_rejection(spec: SignalSpec, seed: int) -> PowerLineRejection:
    """Simulate lines with usual and with harsh instruments, and choose the bounds for both."""
    both = [in_distribution_windows(spec, seed + harsh, harsh=bool(harsh)).data for harsh in (0, 1)]
    return fit_rejection(np.concatenate(both), spec, seed)


@dataclass(frozen=True)
class RejectionScores:
    """Shares of rejected windows.

    Attributes:
        good: share of all in-distribution windows.
        faulty: share of the in-distribution windows with a fault.
        out_of_distribution: share of out-of-distribution windows, by kind.
    """

    good: float
    faulty: float
    out_of_distribution: dict[str, float]

    def as_metrics(self) -> dict[str, float]:
        """Return the shares by name, rounded for a manifest."""
        parts = {"good": self.good, "faulty": self.faulty, **self.out_of_distribution}
        return {name: round(part, 5) for name, part in parts.items()}


def score_rejection(
    rejection: PowerLineRejection, good: Windows, out_of_distribution: dict[str, NDArray[np.float32]], spec: SignalSpec
) -> RejectionScores:
    """Evaluate bounds on windows other than those on which they were chosen."""
    refused = rejection.is_ood(good.data)
    faulty = good.labels != spec.none_index
    return RejectionScores(
        good=float(refused.mean()),
        faulty=float(refused[faulty].mean()) if faulty.any() else 0.0,
        out_of_distribution={
            name: float(rejection.is_ood(windows).mean()) for name, windows in out_of_distribution.items()
        },
    )


def _measures(windows: NDArray[np.float32], spec: SignalSpec) -> Measures:
    whole = PowerLineRejection.for_spec(spec, most_current=1, most_voltage=1, least_change=0, most_roughness=None)
    return measure(windows, whole.currents, whole.voltages, whole.samples_per_cycle)


def _plain(value: float) -> float:
    """Return a value rounded to three digits, which are enough for a bound and readable in a manifest."""
    return float(f"{value:.3g}")
