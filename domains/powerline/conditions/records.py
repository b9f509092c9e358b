"""Simulate the clean records of the robustness evaluation, and the records of conditions that need other ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domains.powerline.simulator.episodes import ScenarioMix, simulate
from domains.powerline.simulator.events import cycles
from domains.powerline.simulator.measurement import Faulty, Instruments
from domains.powerline.simulator.network import ParameterSweep
from training.data.episodes import Episodes

LENGTH_CYCLES = 24.0  # most faults are cleared, and most lines reclosed, before the record ends
# Healthy instruments with a known rating, so that the condition's imperfection is the only one in a record.
GOOD = Instruments(
    noise_db=(50.0, 60.0), saturable=0.0, gain_error=(0.002, 0.002), current_base=(1.0, 1.0), faulty=Faulty()
)
USUAL_MIX = ScenarioMix(fault_share=0.65, disturbed_share=0.0)


def resimulated(
    n: int,
    seed: int,
    *,
    mix: ScenarioMix = USUAL_MIX,
    sweep: ParameterSweep | None = None,
    nominal_hz: float | None = None,
) -> Episodes:
    """Simulate ``n`` records with good instruments; the same seed draws the same lines in all conditions."""
    return simulate(n, seed, length_cycles=LENGTH_CYCLES, mix=mix, sweep=sweep, nominal_hz=nominal_hz, instruments=GOOD)


def moments(episodes: Episodes) -> NDArray[np.intp]:
    """Return the sample (n,) at which the first event of each record starts, or the middle of a record without any."""
    middle = episodes.samples.shape[1] // 2
    return np.array([min((event.start for event in events), default=middle) for events in episodes.events], np.intp)


def length_samples() -> int:
    """Return the number of samples of a record."""
    return cycles(LENGTH_CYCLES)
