"""Detect windows of power lines that are out of distribution, i.e. unlike a model's training data.

Each of four measures has a bound, which was chosen from data. The code is pure NumPy and takes about a microsecond per
window.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from domains.powerline.spec import power_line_spec
from model.rejection import Rejection
from model.spec import SignalSpec

__all__ = ["FEWEST_SAMPLES", "Measures", "PowerLineRejection", "measure"]

# RMS of one channel, per unit, below which a channel counts as de-energised; its noise then carries no information
# about the line. Voltages have a known base. Currents may have any base, but are never this small with large noise.
SILENT_VOLTAGE, SILENT_CURRENT = 0.1, 0.005
FEWEST_SAMPLES = 8  # smallest window in which a wave can be distinguished from noise


@dataclass(frozen=True)
class Measures:
    """Measures of n windows, each an array (n,).

    Attributes:
        current: highest current, per unit.
        voltage: highest voltage, per unit.
        change: largest difference between two values of one channel.
        roughness: share of the energy (0…1) that is neither DC component, linear drift nor fundamental, in the
            currents or in the voltages, whichever share is smaller.
    """

    current: NDArray[np.float32]
    voltage: NDArray[np.float32]
    change: NDArray[np.float32]
    roughness: NDArray[np.float32]


class PowerLineRejection(Rejection):
    """Bounds within which a window is like the training data; the artefact's manifest holds them.

    ``currents`` and ``voltages`` are the positions of the channels. ``most_roughness`` is ``None`` if windows are too
    short to measure it.

    Example:
        >>> from model.spec import load_spec
        >>> bounds = PowerLineRejection.for_spec(
        ...     load_spec("line"), most_current=200, most_voltage=4, least_change=1e-3, most_roughness=0.6
        ... )
        >>> bounds.is_ood(np.full((1, 32, 6), 0.5, np.float32)).tolist()
        [True]
    """

    currents: tuple[int, ...] = Field(min_length=1)
    voltages: tuple[int, ...] = Field(min_length=1)
    samples_per_cycle: int = Field(ge=1)
    most_current: float = Field(gt=0)
    most_voltage: float = Field(gt=0)
    least_change: float = Field(ge=0)
    most_roughness: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="after")
    def _channels_are_positions(self) -> Self:
        if min(self.positions) < 0 or len(set(self.positions)) != len(self.positions):
            raise ValueError("currents and voltages must be different channel positions, counted from 0")
        return self

    @classmethod
    def for_spec(
        cls,
        spec: SignalSpec,
        *,
        most_current: float,
        most_voltage: float,
        least_change: float,
        most_roughness: float | None,
    ) -> Self:
        """Return bounds for windows of ``spec``; channels whose name begins with v are voltages."""
        return cls(
            currents=tuple(k for k, name in enumerate(spec.channels) if not name.lower().startswith("v")),
            voltages=tuple(k for k, name in enumerate(spec.channels) if name.lower().startswith("v")),
            samples_per_cycle=power_line_spec(spec).samples_per_cycle,
            most_current=most_current,
            most_voltage=most_voltage,
            least_change=least_change,
            most_roughness=most_roughness,
        )

    @property
    def positions(self) -> tuple[int, ...]:
        """Return the positions of currents and voltages."""
        return (*self.currents, *self.voltages)

    def is_ood(self, windows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return a mask of windows outside a bound, or with a value that is not finite: see ``Rejection.is_ood``."""
        return np.asarray(np.logical_or.reduce(list(self.exceeded(windows).values())))

    def exceeded(self, windows: NDArray[np.float32]) -> dict[str, NDArray[np.bool_]]:
        """Return a mask (n,) per bound, True for the windows outside it; the keys are the names of the bounds."""
        found = measure(windows, self.currents, self.voltages, self.samples_per_cycle)
        # The comparisons are written this way round so that NaN counts as out of bounds.
        masks = {
            "least_change": ~(found.change >= self.least_change),
            "most_voltage": ~(found.voltage <= self.most_voltage),
            "most_current": ~(found.current <= self.most_current),
        }
        if self.most_roughness is not None:
            masks["most_roughness"] = ~(found.roughness <= self.most_roughness)
        return masks


def measure(
    windows: NDArray[np.float32], currents: tuple[int, ...], voltages: tuple[int, ...], samples_per_cycle: int
) -> Measures:
    """Return the measures of windows float32 (n, samples, channels); values that overflow become infinite or NaN."""
    high, low = _over_time(np.maximum, windows), _over_time(np.minimum, windows)
    with np.errstate(over="ignore", invalid="ignore"):
        peak, change = np.maximum(high, -low), (high - low).max(axis=1)
        roughness = _roughness(windows, currents, voltages, samples_per_cycle)
    return Measures(
        current=peak[:, list(currents)].max(axis=1),
        voltage=peak[:, list(voltages)].max(axis=1),
        change=change,
        roughness=roughness,
    )


def _over_time(extreme: np.ufunc, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reduce (n, samples, channels) to (n, channels) by halves, which is many times faster than reducing short rows."""
    while windows.shape[1] > 1:
        half = windows.shape[1] // 2
        first = extreme(windows[:, :half], windows[:, half : 2 * half])
        windows = extreme(first, windows[:, -half:]) if windows.shape[1] % 2 else first
    return windows[:, 0]


def _roughness(
    windows: NDArray[np.float32], currents: tuple[int, ...], voltages: tuple[int, ...], samples_per_cycle: int
) -> NDArray[np.float32]:
    count, samples, channels = windows.shape
    if samples < FEWEST_SAMPLES:
        return np.zeros(count, np.float32)
    rows = windows.reshape(count, samples * channels)
    parts = []
    for group, silent in ((currents, SILENT_CURRENT), (voltages, SILENT_VOLTAGE)):
        waves, members = _smooth_waves(samples, channels, samples_per_cycle, group)
        energy = np.square(rows) @ members
        smooth = rows @ waves
        rest = energy - np.einsum("nk,nk->n", smooth, smooth)
        parts.append(rest / (energy + np.float32(samples * len(group) * silent**2)))
    return np.asarray(np.minimum(*parts))


@lru_cache(maxsize=8)
def _smooth_waves(
    samples: int, channels: int, samples_per_cycle: int, group: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the smooth waves of a group of channels, for windows flattened to (samples · channels).

    The first array is an orthonormal basis (samples · channels, 4 · len(group)) of a constant, a linear drift and the
    fundamental in every channel of ``group``. The second array (samples · channels,) is 1 for the group's values.
    """
    t = np.arange(samples)
    turned = 2 * np.pi * t / samples_per_cycle
    one = np.linalg.qr(np.stack([np.ones(samples), t - t.mean(), np.cos(turned), np.sin(turned)], axis=1))[0]
    basis, members = np.zeros((samples, channels, len(group), 4)), np.zeros((samples, channels))
    for k, channel in enumerate(group):
        basis[:, channel, k] = one
        members[:, channel] = 1
    return basis.reshape(samples * channels, -1).astype(np.float32), members.reshape(-1).astype(np.float32)
