"""The clean records of the robustness evaluation, and how conditions simulate others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domains.powerline.simulator.episodes import ScenarioMix, simulate
from domains.powerline.simulator.events import cycles
from domains.powerline.simulator.measurement import Faulty, Instruments
from domains.powerline.simulator.network import ParameterSweep
from training.data.episodes import Episodes

LENGTH_CYCLES = 24.0  # most faults are cleared, and most lines reclosed, before a record ends
# Instruments in good order and of a known rating: what is wrong with a record is the condition's alone.
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
    """Simulate ``n`` records as good instruments have them; the same seed draws the same lines in all conditions."""
    return simulate(n, seed, length_cycles=LENGTH_CYCLES, mix=mix, sweep=sweep, nominal_hz=nominal_hz, instruments=GOOD)


def moments(episodes: Episodes) -> NDArray[np.intp]:
    """Return the sample (n,) at which something first happens, or the middle of a record in which nothing does."""
    middle = episodes.samples.shape[1] // 2
    return np.array([min((event.start for event in events), default=middle) for events in episodes.events], np.intp)


def length_samples() -> int:
    """Return how many samples a record has."""
    return cycles(LENGTH_CYCLES)
