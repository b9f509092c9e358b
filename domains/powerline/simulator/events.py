"""Define planned events of the simulator, faults and others, and the line on which they happen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from domains.powerline.simulator.drive import Modulation
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE, Network
from domains.powerline.simulator.solver import Command
from training.data.episodes import Event


@dataclass(frozen=True)
class Timing:
    """Bounds of durations in cycles: dead time of a pole, and duration of a disturbance.

    ``BRISK`` is short, for many episodes; ``LIFELIKE`` has realistic durations, for records.
    """

    dead: tuple[float, float]
    lasting: tuple[float, float]


BRISK = Timing(dead=(3, 20), lasting=(3, 16))
LIFELIKE = Timing(dead=(12, 28), lasting=(8, 45))


@dataclass(frozen=True)
class LineContext:
    """Properties of a line that a plan needs. Impedance and current are per unit, times are in output samples."""

    nominal_hz: float
    base_ohm: float
    load_angle: float
    total_x: float  # reactance between the two sources
    c_line: float
    l_node: float  # source inductance at the fault node
    timing: Timing
    frequency_hz: float = 50.0
    angle: float = 0.0  # rad, of the local source's phase A at time zero
    source_share: float = 0.0  # reactance behind the measured end, as a share of ``total_x``
    line_share: float = 1.0  # reactance of the line, as a share of ``total_x``

    @classmethod
    def of(cls, network: Network, n: int, timing: Timing) -> LineContext:
        """Return the context of the ``n``-th line of ``network``."""

        def positive(matrix: np.ndarray) -> float:
            return float(matrix[n].trace() / 3 - (matrix[n].sum() - matrix[n].trace()) / 6)

        omega = 2 * np.pi * float(network.nominal_hz[n])
        near = positive(network.l_local) + float(network.position[n]) * positive(network.l_line)
        far = positive(network.l_remote) + (1 - float(network.position[n])) * positive(network.l_line)
        total = near + far
        return cls(
            nominal_hz=float(network.nominal_hz[n]),
            base_ohm=float(network.base_ohm[n]),
            load_angle=float(network.load_angle[n]),
            total_x=omega * total,
            c_line=positive(network.c_line),
            l_node=near * far / total,
            timing=timing,
            frequency_hz=float(network.frequency_hz[n]),
            angle=float(network.angle[n]),
            source_share=positive(network.l_local) / total,
            line_share=positive(network.l_line) / total,
        )

    @property
    def load_current(self) -> float:
        """Load current before the event, per unit."""
        return float(2 * np.sin(abs(self.load_angle) / 2) / self.total_x)

    @property
    def x_node(self) -> float:
        """Reactance of the grid at the fault node, per unit."""
        return 2 * np.pi * self.nominal_hz * self.l_node

    def samples_to_zero(self, sample: float, angle: float) -> float:
        """Return the number of samples to the next zero of a source voltage that leads that of phase A by ``angle``."""
        per_sample = 2 * np.pi * self.frequency_hz / (self.nominal_hz * SAMPLES_PER_CYCLE)
        turned = self.angle + angle + per_sample * sample
        return float((np.pi / 2 - turned) % np.pi / per_sample)

    def seconds(self, sample: float) -> float:
        """Return the time of an output sample, in seconds."""
        return sample / (self.nominal_hz * SAMPLES_PER_CYCLE)

    def dead_samples(self, rng: np.random.Generator) -> int:
        """Draw the dead time of a pole, in samples."""
        return cycles(rng.uniform(*self.timing.dead))

    def lasting_samples(self, rng: np.random.Generator) -> int:
        """Draw the duration of a disturbance, in samples."""
        return cycles(rng.uniform(*self.timing.lasting))


@dataclass(frozen=True)
class PlannedEvent(Event):
    """An event in output samples, with ``commands`` to switches and ``modulations`` of sources for the solver."""

    commands: tuple[Command, ...] = ()
    modulations: tuple[Modulation, ...] = ()

    @property
    def moments(self) -> tuple[int, ...]:
        """Samples at which a switching operation happens."""
        return self.start, self.stop, *(command.sample for command in self.commands)


Builder = Callable[[LineContext, np.random.Generator, int], PlannedEvent]


def cycles(count: float) -> int:
    """Return the number of output samples of ``count`` cycles."""
    return round(count * SAMPLES_PER_CYCLE)


ALL = (1.0, 1.0, 1.0)


def scattered_close(rng: np.random.Generator, end: str, sample: int, poles: tuple[float, ...] = ALL) -> list[Command]:
    """Close the poles of one end, each within a quarter of a cycle of the others (pole scatter)."""
    commands = []
    for phase in range(3):
        if poles[phase]:
            only = tuple(float(p == phase) for p in range(3))
            late = int(rng.integers(0, SAMPLES_PER_CYCLE // 4))
            commands.append(Command(sample + late, "close_local" if end == "local" else "close_remote", only))
    return commands
