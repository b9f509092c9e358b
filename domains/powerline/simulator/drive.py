"""Compute the inputs of a network over time: the voltages of its two sources, and the currents that loads draw.

A modulation changes the inputs of one episode between two times. It is evaluated for each stretch of time that the
solver requests, so a record may have any length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from domains.powerline.simulator.matrices import Array
from domains.powerline.simulator.network import Network

PHASE_LAG = np.array([0.0, -2 * np.pi / 3, 2 * np.pi / 3])


@dataclass
class Drive:
    """Inputs of one episode at the times ``t`` (k,) in seconds; ``theta`` (k, 3) are the local source's angles."""

    t: Array
    theta: Array
    omega: float
    swing: Array  # (k,) rad, added to the remote source's angle
    local: Array  # (k, 3) factors of the source voltages
    remote: Array
    drawn: Array  # (k, 3) current per unit that loads draw from the node


class Modulation(Protocol):
    """A change of the inputs that is limited in time."""

    @property
    def start_s(self) -> float:
        """Time in seconds before which there is no change."""

    @property
    def stop_s(self) -> float:
        """Time in seconds after which there is no change."""

    def apply(self, drive: Drive) -> None:
        """Change ``drive`` in place."""


def ramp(t: Array, start: float, rise: float) -> Array:
    """Return a smooth rise from 0 to 1 between ``start`` and ``start + rise``."""
    x = np.clip((t - start) / max(rise, 1e-9), 0.0, 1.0)
    return np.asarray(x * x * (3 - 2 * x))


def during(t: Array, start: float, stop: float, rise: float) -> Array:
    """Return 1 between two times and 0 outside, with smooth transitions that last ``rise`` after both."""
    return ramp(t, start, rise) - ramp(t, stop, rise)


@dataclass(frozen=True)
class Swing:
    """A swing of the remote source's angle by ``amplitude`` rad and back, ``rate_hz`` times per second."""

    start_s: float
    stop_s: float
    amplitude: float
    rate_hz: float

    def apply(self, drive: Drive) -> None:
        """Add the swing to the remote source's angle."""
        inside = np.clip(drive.t, self.start_s, self.stop_s) - self.start_s
        drive.swing += self.amplitude * 0.5 * (1 - np.cos(2 * np.pi * self.rate_hz * inside))


@dataclass(frozen=True)
class AngleStep:
    """A change of load flow: the remote source's angle changes by ``amplitude`` rad, and back at the end."""

    start_s: float
    stop_s: float
    amplitude: float
    rise_s: float

    def apply(self, drive: Drive) -> None:
        """Add the step to the remote source's angle."""
        drive.swing += self.amplitude * during(drive.t, self.start_s, self.stop_s - self.rise_s, self.rise_s)


@dataclass(frozen=True)
class Sag:
    """A sag of the source voltages by a fraction per phase, due to a fault elsewhere in the grid."""

    start_s: float
    stop_s: float
    local: tuple[float, float, float]
    remote: tuple[float, float, float]
    rise_s: float

    def apply(self, drive: Drive) -> None:
        """Reduce the source voltages."""
        course = during(drive.t, self.start_s, self.stop_s - self.rise_s, self.rise_s)[:, None]
        drive.local *= 1 - course * np.array(self.local)
        drive.remote *= 1 - course * np.array(self.remote)


@dataclass(frozen=True)
class Load:
    """A temporary load with a current per phase (per unit) that lags the voltage by ``lag`` rad."""

    start_s: float
    stop_s: float
    current: tuple[float, float, float]
    lag: float
    rise_s: float

    def apply(self, drive: Drive) -> None:
        """Add the load's current."""
        course = during(drive.t, self.start_s, self.stop_s - self.rise_s, self.rise_s)[:, None]
        drive.drawn += course * np.array(self.current) * np.cos(drive.theta - self.lag)


@dataclass(frozen=True)
class MotorStart:
    """Current of a motor: ``current`` per unit with a large lag while it runs up, then its running current."""

    start_s: float
    stop_s: float
    current: float
    lag: float
    run_up_s: float
    offset_s: float

    def apply(self, drive: Drive) -> None:
        """Add the motor's current."""
        since = drive.t - self.start_s
        on = (since >= 0) & (drive.t < self.stop_s)
        running = ramp(drive.t, self.start_s + 0.7 * self.run_up_s, 0.3 * self.run_up_s)
        leaving = ramp(drive.t, self.stop_s - 0.02, 0.02)  # the current decays in about a cycle as the motor slows down
        level = (self.current * (1 - 0.85 * running) * (1 - leaving) * on)[:, None]
        lag = (self.lag * (1 - 0.6 * running))[:, None]
        theta0 = drive.theta - (drive.omega * since)[:, None]
        offset = np.cos(theta0 - self.lag) * (np.exp(-np.clip(since, 0, None) / self.offset_s))[:, None]
        drive.drawn += level * (np.cos(drive.theta - lag) - offset)


@dataclass(frozen=True)
class Inrush:
    """The inrush current of a transformer, which flows while its offset flux exceeds saturation.

    ``remanence`` (3) is per unit of nominal flux; ``air_core`` is current per flux above ``knee``, both per unit.
    """

    start_s: float
    stop_s: float
    remanence: tuple[float, float, float]
    knee: float
    air_core: float
    decay_s: float
    delta: bool

    def apply(self, drive: Drive) -> None:
        """Add the inrush current."""
        since = drive.t - self.start_s
        on = ((since >= 0) & (drive.t < self.stop_s))[:, None]
        theta0 = drive.theta - (drive.omega * since)[:, None]
        offset = (np.array(self.remanence) - np.sin(theta0)) * np.exp(-np.clip(since, 0, None) / self.decay_s)[:, None]
        flux = np.sin(drive.theta) + offset
        over = np.sign(flux) * np.clip(np.abs(flux) - self.knee, 0, None) * self.air_core
        if self.delta:  # a delta winding carries no zero sequence current to the line
            over = over - over.mean(axis=1, keepdims=True)
        drive.drawn += over * on * (1 - ramp(drive.t, self.stop_s - 0.04, 0.04))[:, None]


@dataclass
class Sources:
    """Inputs of a batch of networks; network n has the modulations ``modulations[n]``."""

    network: Network
    modulations: Sequence[Sequence[Modulation]] = field(default_factory=list)

    def phasors(self) -> Array:
        """Return the complex inputs (n, 9) before any modulation, referred to time zero (cosine)."""
        net = self.network
        local = net.emf_local[:, None] * np.exp(1j * (net.angle[:, None] + PHASE_LAG))
        turned = (net.angle + net.load_angle)[:, None] + PHASE_LAG
        remote = net.emf_remote[:, None] * np.exp(1j * turned)
        return np.concatenate([local, remote, np.zeros_like(local)], axis=1)

    def inputs(self, first: int, count: int) -> Array:
        """Return the inputs (count, n, 9) at steps ``first`` to ``first + count - 1``."""
        net = self.network
        t = np.arange(first, first + count)[:, None] * net.step_s  # (count, n)
        turned = 2 * np.pi * net.frequency_hz * t
        phasors = self.phasors()
        u = np.cos(turned)[:, :, None] * phasors.real
        u -= np.sin(turned)[:, :, None] * phasors.imag
        for n, modulations in enumerate(self.modulations):
            begin, end = float(t[0, n]), float(t[-1, n])
            active = [m for m in modulations if m.start_s <= end and m.stop_s >= begin]
            if active:
                self._modulate(u, n, t[:, n], active)
        return u

    def _modulate(self, u: Array, n: int, t: Array, active: Sequence[Modulation]) -> None:
        net = self.network
        theta = (2 * np.pi * net.frequency_hz[n] * t + net.angle[n])[:, None] + PHASE_LAG
        drive = Drive(
            t=t,
            theta=theta,
            omega=float(2 * np.pi * net.frequency_hz[n]),
            swing=np.zeros(len(t)),
            local=np.ones((len(t), 3)),
            remote=np.ones((len(t), 3)),
            drawn=np.zeros((len(t), 3)),
        )
        for modulation in active:
            modulation.apply(drive)
        u[:, n, 0:3] *= drive.local
        turned = theta + net.load_angle[n] + drive.swing[:, None]
        u[:, n, 3:6] = net.emf_remote[n] * np.cos(turned) * drive.remote
        if net.unearthed[n]:
            drive.drawn -= drive.drawn.mean(axis=1, keepdims=True)
        u[:, n, 6:9] = drive.drawn
