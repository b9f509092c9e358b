"""Plan disturbances that are harder to distinguish from faults: wide swings, pole slips, and large equipment.

``HARDER_NON_FAULTS`` holds one function per kind, by name. None of these events is a fault.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from domains.powerline.simulator.disturbances import switched_bank
from domains.powerline.simulator.drive import AngleStep, Drive, MotorStart, Swing, during
from domains.powerline.simulator.events import Builder, LineContext, PlannedEvent, cycles
from domains.powerline.simulator.matrices import Array
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE

# Load angles that a wide swing reaches. Above about 105° one cycle of it looks like a distant three-phase fault.
WIDE_SWING_RAD = (np.radians(105), np.radians(175))
SWING_HZ = (0.3, 3.0)
SLIP_HZ = (0.2, 7.0)
MOST_TURNS = 5
LONGEST_SLIP_CYCLES = 120  # pole slips of several turns last at most this long
EASED = 0.25  # share of a pole slip's duration during which the slip rises, and during which it falls again
CENTRED_SHARE = 0.6  # share of pole slips whose electrical centre is brought to the line by the ends' voltages
EMF_RATIO = (0.7, 1.4)  # bounds of the local source's voltage relative to the remote one's during a pole slip


@dataclass(frozen=True)
class PoleSlip:
    """A loss of synchronism: the remote source's angle makes ``turns`` full turns, and the grids pull in again.

    The slip rises and falls smoothly, and the angle ends at a multiple of 2π, so the initial steady state returns.
    ``local`` and ``remote`` are factors of the source voltages during the slip.
    """

    start_s: float
    stop_s: float
    turns: int  # negative if the remote source falls behind
    local: float = 1.0
    remote: float = 1.0

    def apply(self, drive: Drive) -> None:
        """Turn the remote source, and change the magnitude of both voltages."""
        duration = self.stop_s - self.start_s
        drive.swing += 2 * np.pi * self.turns * _eased((drive.t - self.start_s) / duration)
        course = during(drive.t, self.start_s, self.stop_s - EASED * duration, EASED * duration)[:, None]
        drive.local *= 1 + course * (self.local - 1)
        drive.remote *= 1 + course * (self.remote - 1)


def _eased(x: Array) -> Array:
    """Return the integral from 0 of a speed that rises for ``EASED``, is constant, and falls for ``EASED``; 1 at 1."""
    x = np.clip(x, 0.0, 1.0)

    def risen(y: Array) -> Array:
        y = np.clip(y, 0.0, EASED)
        return np.asarray(0.5 * y - EASED / (2 * np.pi) * np.sin(np.pi * y / EASED))

    middle = np.clip(x - EASED, 0.0, 1 - 2 * EASED)
    falling = np.clip(x - (1 - EASED), 0.0, EASED)
    return np.asarray((risen(x) + middle + falling - risen(falling)) / (1 - EASED))


@dataclass(frozen=True)
class Reactor:
    """A shunt reactor: an inductive current whose DC offset decays with ``offset_s``.

    Each pole of its circuit breaker interrupts the current at its first zero after ``opens_s``.
    """

    start_s: float
    opens_s: float
    current: float
    offset_s: float

    @property
    def stop_s(self) -> float:
        """Time in seconds after which no pole carries current."""
        return self.opens_s + 0.05

    def apply(self, drive: Drive) -> None:
        """Add the reactor's current."""
        ending = np.linspace(self.opens_s, self.stop_s, 500)
        current = self._current(ending, drive)
        passed = current[1:] * current[:-1] <= 0
        open_from = np.where(passed.any(axis=0), ending[1:][passed.argmax(axis=0)], self.stop_s)
        on = (drive.t[:, None] >= self.start_s) & (drive.t[:, None] < open_from)
        drive.drawn += self._current(drive.t, drive) * on

    def _current(self, t: Array, drive: Drive) -> Array:
        """Return the current (k, 3) at the times ``t`` (k,) while all poles are closed."""
        since = np.clip(t - self.start_s, 0.0, None)[:, None]
        start = drive.theta[0] + drive.omega * (self.start_s - drive.t[0])
        current = self.current * (np.sin(start + drive.omega * since) - np.sin(start) * np.exp(-since / self.offset_s))
        return np.asarray(current)


def wide_swing(
    line: LineContext,
    rng: np.random.Generator,
    start: int,
    *,
    peak: tuple[float, float] = WIDE_SWING_RAD,
    rate_hz: tuple[float, float] = SWING_HZ,
) -> PlannedEvent:
    """Plan a stable power swing up to a load angle between the bounds ``peak`` in rad, from which the grids recover."""
    rate = _log_uniform(rng, rate_hz)
    stop = start + cycles(line.nominal_hz / rate)
    side = float(rng.choice([-1.0, 1.0]))
    amplitude = side * rng.uniform(*peak) - line.load_angle
    parameters: dict[str, float | str] = {"rate_hz": rate, "amplitude": amplitude}
    swing = Swing(line.seconds(start), line.seconds(stop), amplitude, rate)
    return PlannedEvent("wide_swing", start, stop, modulations=(swing,), parameters=parameters)


def pole_slip(
    line: LineContext,
    rng: np.random.Generator,
    start: int,
    *,
    slip_hz: tuple[float, float] = SLIP_HZ,
    centred: float = CENTRED_SHARE,
) -> PlannedEvent:
    """Plan an unstable power swing of one to five turns with a slip between the bounds ``slip_hz``.

    At opposition the voltage is zero at the electrical centre. In the share ``centred`` of the events, the magnitudes
    of the source voltages move the centre to the line or to the measured end, as far as ``EMF_RATIO`` permits.
    """
    slip = _log_uniform(rng, slip_hz)
    longest = int(LONGEST_SLIP_CYCLES * (1 - EASED) * slip / line.nominal_hz)
    turns = int(rng.integers(1, max(1, min(longest, MOST_TURNS)) + 1))
    stop = start + cycles(turns * line.nominal_hz / (slip * (1 - EASED)))
    centre = line.source_share + line.line_share * rng.uniform(0.0, 1.0) ** 2
    ratio = float(np.clip(centre / max(1 - centre, 1e-3), *EMF_RATIO)) if rng.random() < centred else 1.0
    modulation = PoleSlip(
        line.seconds(start),
        line.seconds(stop),
        turns * int(rng.choice([-1, 1])),
        local=min(ratio, 1.0),
        remote=min(1 / ratio, 1.0),
    )
    parameters: dict[str, float | str] = {"slip_hz": slip, "turns": float(turns), "emf_ratio": ratio}
    return PlannedEvent("pole_slip", start, stop, modulations=(modulation,), parameters=parameters)


def large_motor(
    line: LineContext,
    rng: np.random.Generator,
    start: int,
    *,
    rated: tuple[float, float] = (0.15, 0.6),
    multiple: tuple[float, float] = (5.0, 7.0),
) -> PlannedEvent:
    """Plan the start of a large motor at a multiple of its rated current; both are drawn between their bounds."""
    run_up = line.lasting_samples(rng)
    stop = start + run_up + line.lasting_samples(rng) // 2
    current = min(rng.uniform(*multiple) * rng.uniform(*rated), 0.3 / line.x_node)  # the voltage falls by at most 30 %
    modulation = MotorStart(
        line.seconds(start),
        line.seconds(stop),
        current,
        np.radians(rng.uniform(65, 80)),
        line.seconds(run_up),
        rng.uniform(0.01, 0.05),
    )
    return PlannedEvent("large_motor", start, stop, modulations=(modulation,), parameters={"current": current})


def reactor(
    line: LineContext, rng: np.random.Generator, start: int, *, current: tuple[float, float] = (0.1, 0.8)
) -> PlannedEvent:
    """Plan a shunt reactor of a current between the bounds ``current`` that is switched in, and out again."""
    stop = start + line.lasting_samples(rng)
    drawn = min(rng.uniform(*current), 0.25 / line.x_node)
    modulation = Reactor(line.seconds(start), line.seconds(stop), drawn, _log_uniform(rng, (0.03, 0.6)))
    return PlannedEvent(
        "reactor", start, stop + SAMPLES_PER_CYCLE, modulations=(modulation,), parameters={"current": drawn}
    )


def large_capacitor(
    line: LineContext, rng: np.random.Generator, start: int, *, power: tuple[float, float] = (0.4, 1.5)
) -> PlannedEvent:
    """Plan a large capacitor bank that is switched in and out, and oscillates with the grid."""
    return replace(switched_bank(line, rng, start, power=power, most=0.13), kind="large_capacitor")


def second_circuit(line: LineContext, rng: np.random.Generator, start: int) -> PlannedEvent:
    """Plan a parallel circuit that is switched in or out: the load changes by a factor of 0.4 to 2.5 for good."""
    most = np.radians(50)
    factor = _log_uniform(rng, (0.4, 2.5))
    after = float(np.clip(line.load_angle * factor, -most, most))
    rise = line.seconds(rng.uniform(0.3, 3) * SAMPLES_PER_CYCLE)
    step = AngleStep(line.seconds(start), np.inf, after - line.load_angle, rise)
    stop = start + cycles(4)
    parameters: dict[str, float | str] = {"factor": factor, "load_angle": after}
    return PlannedEvent("second_circuit", start, stop, modulations=(step,), parameters=parameters)


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


HARDER_NON_FAULTS: dict[str, Builder] = {
    "wide_swing": wide_swing,
    "pole_slip": pole_slip,
    "large_motor": large_motor,
    "reactor": reactor,
    "large_capacitor": large_capacitor,
    "second_circuit": second_circuit,
}
