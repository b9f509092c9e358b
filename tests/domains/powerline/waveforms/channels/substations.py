"""Substations written by the tests: sets of channels, live and dead, as a recorder of several bays writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.domains.powerline.waveforms.record_samples import Shape, write_record

RATE, CYCLES, HZ = 1200.0, 20, 50.0
FAULT_S = 0.2
TURN = np.exp(2j * np.pi / 3)

Waves = NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """Channels of one set or of one calculated quantity, with their waveforms (t, k)."""

    names: Sequence[str]
    unit: str
    waves: Waves
    phases: Sequence[str] = ()
    circuit: str = ""


def times() -> Waves:
    return np.arange(int(RATE * CYCLES / HZ)) / RATE


def three_phases(before: Sequence[complex], after: Sequence[complex] | None = None) -> Waves:
    """Return waves (t, 3) of effective values that change at the fault, with noise of 1/2000."""
    t = times()[:, None]
    phasors = np.where(t < FAULT_S, np.asarray(before)[None], np.asarray(before if after is None else after)[None])
    waves = np.sqrt(2) * (phasors * np.exp(2j * np.pi * HZ * t)).real
    noise = np.random.default_rng(5).normal(0, 1 / 2000, waves.shape)
    return np.asarray(waves + noise * np.abs(phasors).max())


def turned(size: float, angle: float = 0.0) -> list[complex]:
    """Return three balanced phasors A, B, C."""
    return [size * np.exp(1j * angle) * TURN ** (-k) for k in range(3)]


def voltages(size: float, *, sag: float = 1.0, angle: float = 0.0) -> Waves:
    """Return voltages to ground; phase A falls to ``sag``."""
    before = turned(size, angle)
    return three_phases(before, [before[0] * sag, *before[1:]])


def currents(load: float, *, fault: float | None = None, angle: float = -0.3) -> Waves:
    """Return currents; phase A rises to ``fault``."""
    before = turned(load, angle)
    return three_phases(before, None if fault is None else [fault * np.exp(-1.3j), *before[1:]])


def noise(step: float, columns: int = 3, seed: int = 1) -> Waves:
    """Return the steps of an idle converter."""
    return np.random.default_rng(seed).integers(-1, 2, (len(times()), columns)) * step


def constant(levels: Sequence[float]) -> Waves:
    """Return direct quantities with a little noise."""
    noise = np.random.default_rng(2).normal(1, 0.01, (len(times()), len(levels)))
    return np.asarray(noise * np.asarray(levels))


def magnitudes(levels: Sequence[float]) -> Waves:
    """Return calculated magnitudes that rise within a cycle after the fault."""
    rise = np.clip((times() - FAULT_S) * HZ, 0, 1)[:, None]
    return np.asarray((0.05 + rise) * np.asarray(levels))


def write_substation(folder: Path, groups: Sequence[Group], stem: str = "station") -> Path:
    """Write the groups as one COMTRADE record without ratings."""
    count = sum(len(group.names) for group in groups)
    shape = Shape(
        segments=((RATE, len(times())),),
        names=[name for group in groups for name in group.names],
        phases=[phase for group in groups for phase in group.phases or [""] * len(group.names)],
        circuits=[group.circuit for group in groups for _ in group.names],
        units=[group.unit for group in groups for _ in group.names],  # type: ignore[arg-type]
        ratings=((1.0, 1.0), (1.0, 1.0)),
        skew_us=(0.0,) * count,
    )
    return write_record(folder, shape, np.concatenate([group.waves for group in groups], axis=1), stem).path
