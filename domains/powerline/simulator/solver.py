"""Integrate a batch of networks through their switching operations, and return the waveforms at the measured ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt, sosfilt_zi

from domains.powerline.simulator.discretise import INPUTS, OUTPUTS, STATES, Switches, steady_state, step_matrices
from domains.powerline.simulator.drive import Modulation, Sources
from domains.powerline.simulator.faults import NONE, classes_of
from domains.powerline.simulator.matrices import Array
from domains.powerline.simulator.network import OVERSAMPLING, SAMPLES_PER_CYCLE, Network

BLOCK_SAMPLES = 128  # number of output samples for which inputs are evaluated and outputs filtered at a time
CHOPPED = 2e-3  # per unit: no arc burns below this current, so a pole opens without waiting for a current zero
# Corner of the instrument's anti-aliasing filter, relative to the output's Nyquist frequency.
FILTER_CORNER = 0.7

Action = Literal["fault", "extinguish", "open_local", "open_remote", "close_local", "close_remote", "bank"]


@dataclass(frozen=True)
class Command:
    """A switching operation ``action`` at output sample ``sample``.

    ``value`` is the fault star (4,) in ohm for "fault", the capacitance per phase (3,) for "bank", and the phases (3, 0
    or 1) for poles; it is unused for "extinguish". Poles open and arcs extinguish at the next zero of their current.
    """

    sample: int
    action: Action
    value: tuple[float, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Plan of one line: commands, modulations of its sources, and its initial state (energised or not)."""

    commands: tuple[Command, ...] = ()
    modulations: tuple[Modulation, ...] = ()
    energised: bool = True


@dataclass(frozen=True)
class Waveforms:
    """Waveforms of n lines with their labels.

    Attributes:
        samples: float32 (n, t, 6), ia ib ic va vb vc per unit.
        labels: int8 (n, t), class of the fault that the measured end feeds.
        settled: bool (n, t), False while a fault is interrupted in some of its phases, so that its class is undefined.
    """

    samples: NDArray[np.float32]
    labels: NDArray[np.int8]
    settled: NDArray[np.bool_]


def solve(network: Network, plans: Sequence[Plan], samples: int) -> Waveforms:
    """Return the waveforms of ``network`` (n lines) under ``plans`` (n) for ``samples`` output samples.

    The waveforms start in the steady state of the plans' first configuration.
    """
    return _Run(network, plans).run(samples)


class _Run:
    def __init__(self, network: Network, plans: Sequence[Plan]) -> None:
        n = len(network)
        self.network, self.n = network, n
        self.sources = Sources(network, [p.modulations for p in plans])
        self.due: dict[int, list[tuple[int, Command]]] = {}
        for line, plan in enumerate(plans):
            for command in plan.commands:
                self.due.setdefault(command.sample, []).append((line, command))
        closed = np.repeat(np.array([[float(p.energised)] for p in plans]), 3, axis=1)
        self.switches = Switches(closed, closed.copy(), np.full((n, 4), np.inf), np.zeros((n, 3)))
        self.opening = {"local": np.zeros((n, 3), bool), "remote": np.zeros((n, 3), bool)}
        self.arcs = np.zeros((n, 3), bool)  # fault phases whose arc extinguishes at its next current zero
        self.waiting = np.zeros(0, np.intp)  # lines with poles or arcs that wait for a current zero
        self.limited = np.flatnonzero(np.isfinite(network.arrester))  # lines with surge arresters
        self.most = network.arrester[self.limited, None]
        self.fault_class = np.zeros(n, np.int8)
        self.label, self.settled = np.zeros(n, np.int8), np.ones(n, bool)
        self.matrices = step_matrices(network, self.switches)
        start = steady_state(network, self.switches, self.sources.phasors()).real
        self.state = np.zeros((n, STATES + 2 * INPUTS, 1))
        self.state[:, :STATES, 0] = start

    def run(self, samples: int) -> Waveforms:
        out = Waveforms(
            np.empty((self.n, samples, 6), np.float32),
            np.empty((self.n, samples), np.int8),
            np.empty((self.n, samples), bool),
        )
        sos = butter(2, FILTER_CORNER / OVERSAMPLING, output="sos")
        memory: Array | None = None
        for first in range(0, samples, BLOCK_SAMPLES):
            count = min(BLOCK_SAMPLES, samples - first)
            raw = self._block(first, count, out)
            if memory is None:
                memory = self._settled_filter(sos, raw)
            filtered, memory = sosfilt(sos, raw, axis=0, zi=memory)
            out.samples[:, first : first + count] = filtered[::OVERSAMPLING].transpose(1, 0, 2)
        return out

    def _settled_filter(self, sos: Array, raw: Array) -> Array:
        """Return the filter's state at the record's start, assuming that the first cycle also preceded the record."""
        cycle = raw[: SAMPLES_PER_CYCLE * OVERSAMPLING]
        memory = np.zeros((sosfilt_zi(sos).shape[0], 2, *raw.shape[1:]))
        return np.asarray(sosfilt(sos, cycle, axis=0, zi=memory)[1])

    def _block(self, first: int, count: int, out: Waveforms) -> Array:
        """Integrate ``count`` output samples, and return the unfiltered currents and voltages (steps, n, 6)."""
        steps = count * OVERSAMPLING
        u = self.sources.inputs(first * OVERSAMPLING, steps + 1)
        raw = np.empty((steps, self.n, 6))
        state = self.state
        stepped = np.empty((self.n, STATES + OUTPUTS, 1))
        for k in range(steps):
            if k % OVERSAMPLING == 0:
                sample = first + k // OVERSAMPLING
                if sample in self.due:
                    self._execute(self.due[sample])
                out.labels[:, sample], out.settled[:, sample] = self.label, self.settled
            state[:, STATES : STATES + INPUTS, 0] = u[k]
            state[:, STATES + INPUTS :, 0] = u[k + 1]
            np.matmul(self.matrices, state, out=stepped)
            raw[k, :, :3], raw[k, :, 3:] = state[:, :3, 0], stepped[:, STATES:, 0]
            if len(self.limited):
                node = stepped[self.limited, 6:9, 0]
                stepped[self.limited, 6:9, 0] = np.clip(node, -self.most, self.most)
            if len(self.waiting):
                self._interrupt(state[:, :STATES, 0], stepped[:, :STATES, 0])
            state[:, :STATES] = stepped[:, :STATES]
        return raw

    def _execute(self, commands: list[tuple[int, Command]]) -> None:
        for line, command in commands:
            value = np.array(command.value)
            match command.action:
                case "fault":
                    self.switches.fault_ohm[line] = value
                    self.arcs[line] = False
                    self.fault_class[line] = classes_of(value[None])[0]
                case "extinguish":
                    self.arcs[line] = np.isfinite(self.switches.fault_ohm[line, :3])
                case "open_local":
                    self.opening["local"][line] |= (value > 0) & (self.switches.local[line] > 0)
                case "open_remote":
                    self.opening["remote"][line] |= (value > 0) & (self.switches.remote[line] > 0)
                case "close_local":
                    self._close("local", self.switches.local, line, value)
                case "close_remote":
                    self._close("remote", self.switches.remote, line, value)
                case "bank":
                    self._connect_bank(line, value)
        self._changed(np.unique([line for line, _ in commands]))

    def _close(self, end: str, closed: Array, line: int, poles: Array) -> None:
        closed[line] = np.maximum(closed[line], poles)
        self.opening[end][line] &= ~(poles > 0)

    def _connect_bank(self, line: int, value: Array) -> None:
        """Connect uncharged capacitors; the node's charge distributes over both immediately."""
        before = self.network.c_line[line] + np.diag(self.switches.bank[line])
        added = np.maximum(value - self.switches.bank[line], 0.0)
        voltage = self.state[line, 6:9, 0]
        self.state[line, 6:9, 0] = np.linalg.solve(before + np.diag(added), before @ voltage)
        self.switches.bank[line] = value

    def _interrupt(self, before: Array, after: Array) -> None:
        """Open the poles and extinguish the arcs whose current passed through zero in this step."""
        lines = self.waiting
        was_before, now_after = before[lines], after[lines]
        changed = np.zeros(len(lines), bool)
        for end, at, closed in (("local", 0, self.switches.local), ("remote", 3, self.switches.remote)):
            was, now = was_before[:, at : at + 3], now_after[:, at : at + 3]
            zero = self.opening[end][lines] & ((was * now <= 0) | (np.abs(now) < CHOPPED))
            if zero.any():
                closed[lines] = np.where(zero, 0.0, closed[lines])
                now[zero] = 0.0
                after[lines, at : at + 3] = now
                self.opening[end][lines] &= ~zero
                changed |= zero.any(axis=1)
        if self.arcs[lines].any():
            changed |= self._extinguish(was_before, now_after)
        if changed.any():
            self._changed(lines[changed])

    def _extinguish(self, before: Array, after: Array) -> NDArray[np.bool_]:
        """Extinguish arcs of the waiting lines with states ``before`` and ``after`` (k, 9); return a mask (k,)."""
        lines = self.waiting
        arcs, ohm = self.arcs[lines], self.switches.fault_ohm[lines]
        # The sum of the currents into the node, apart from the part that charges the node, flows through the fault.
        was, now = before[:, 0:3] + before[:, 3:6], after[:, 0:3] + after[:, 3:6]
        out = arcs & ((was * now <= 0) | (np.abs(now) < CHOPPED))
        # An arc between two phases without ground has a single current, so it extinguishes as a whole.
        pair = ~np.isfinite(ohm[:, 3]) & (arcs.sum(axis=1) == 2)
        out |= arcs & (pair & out.any(axis=1))[:, None]
        ohm[:, :3][out] = np.inf
        self.switches.fault_ohm[lines] = ohm
        self.arcs[lines] = arcs & ~out
        return np.asarray(out.any(axis=1))

    def _changed(self, lines: NDArray[np.intp]) -> None:
        """Update matrices and labels of ``lines`` after a change of their switches."""
        s = self.switches
        part = Switches(s.local[lines], s.remote[lines], s.fault_ohm[lines], s.bank[lines])
        self.matrices[lines] = step_matrices(self.network.take(lines), part)
        burning = np.isfinite(part.fault_ohm[:, :3])
        fed = burning & (part.local > 0)
        self.fault_class[lines[~burning.any(axis=1)]] = NONE
        self.label[lines] = np.where(fed.any(axis=1), self.fault_class[lines], NONE)
        self.settled[lines] = ~(fed.any(axis=1) & (_classes_of_part(fed, part.fault_ohm) != self.label[lines]))
        waits = self.opening["local"] | self.opening["remote"] | self.arcs
        self.waiting = np.flatnonzero(waits.any(axis=1))


def _classes_of_part(phases: NDArray[np.bool_], fault_ohm: Array) -> NDArray[np.int8]:
    """Return the classes (n,) of the faults ``fault_ohm`` (n, 4) restricted to ``phases`` (n, 3)."""
    kept = fault_ohm.copy()
    kept[:, :3][~phases] = np.inf
    return classes_of(kept)
