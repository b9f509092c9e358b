"""Draw at random and apply the measurement chain from a line's currents and voltages to a record.

Starting from the line, the chain consists of harmonics of the grid, CT saturation, wiring, sampling, noise, gain,
quantisation, derived channels and transmission. ``imperfections`` holds the function of each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from domains.powerline.simulator.faults import CLASSES
from domains.powerline.simulator.imperfections import (
    HARMONICS,
    Samples,
    aron,
    from_residual,
    jittered,
    lost,
    permuted,
    phase_to_phase,
    quantised,
    saturate,
    stuck,
    with_gaps,
    with_harmonics,
)
from domains.powerline.simulator.matrices import Array

__all__ = [
    "EXTENDED",
    "HARSH",
    "USUAL",
    "Chain",
    "Faulty",
    "Instruments",
    "draw_chains",
    "measure",
    "renamed",
    "renamed_class",
]


@dataclass(frozen=True)
class Faulty:
    """Shares of records with faulty or miswired instruments, as opposed to merely inaccurate ones."""

    harmonics: float = 0.0
    jitter: float = 0.0
    lost: float = 0.0  # one channel reads zero
    lost_phase: float = 0.0  # current and voltage of one phase read zero
    lost_voltages: float = 0.0  # all three voltages read zero, as when a VT fuse or miniature circuit breaker opens
    lost_currents: float = 0.0  # two currents read zero
    stuck: float = 0.0  # one channel keeps a constant value
    reversed: float = 0.0  # all three CTs have reversed polarity
    turned: float = 0.0  # a single one of the six CTs and VTs has reversed polarity
    turned_again: float = 0.0  # the same, of another one or the same; with both, two may be reversed
    swapped: float = 0.0  # two phases are exchanged, in currents and voltages alike
    crossed: float = 0.0  # the voltages are connected in another phase order than the currents
    gaps: float = 0.0  # all channels keep their last value for some samples
    phase_to_phase: float = 0.0  # the VTs measure phase-to-phase voltages, so the zero sequence is unknown
    aron: float = 0.0  # CTs in phases A and C only; the current of B is the negative sum of both
    residual: float = 0.0  # CTs in phases A and C, and a residual CT from which the current of B is derived


@dataclass(frozen=True)
class Instruments:
    """Distribution from which measurement chains are drawn.

    ``noise_db`` is the distance of the noise below nominal or below the record's own level. ``knee`` is the current, in
    multiples of rated current, at which saturable CTs begin to saturate.
    """

    noise_db: tuple[float, float] = (20.0, 60.0)
    knee: tuple[float, float] = (3.0, 40.0)
    saturable: float = 0.2  # share of records whose CTs may saturate
    gain_error: tuple[float, float] = (0.01, 0.01)  # standard deviation within a record, clipped at three times it
    current_base: tuple[float, float] = (0.2, 5.0)  # factor on the currents, since ratings are often unknown
    harmonic_part: float = 0.06  # largest sum of all harmonics, as a share of the fundamental
    jitter_samples: float = 0.15  # largest standard deviation
    gap_samples: tuple[int, int] = (2, 32)
    residual_error: tuple[float, float] = (0.005, 0.05)  # standard deviation of the residual CT's gain
    faulty: Faulty = field(default_factory=Faulty)


ORDERS = np.array(list(permutations(range(3))))  # the first one is the correct phase order
CHANNELS = ("ia", "ib", "ic", "va", "vb", "vc")
USUAL = Instruments()
# Instruments with all imperfections of the measurement chain.
HARSH = Instruments(
    noise_db=(8.0, 45.0),
    knee=(1.5, 40.0),
    saturable=0.3,
    gain_error=(0.001, 0.015),
    harmonic_part=0.2,
    faulty=Faulty(
        harmonics=0.3,
        jitter=0.2,
        lost=0.12,
        lost_phase=0.1,
        lost_voltages=0.03,
        lost_currents=0.03,
        stuck=0.04,
        reversed=0.2,
        turned=0.06,
        swapped=0.1,
        crossed=0.02,
        gaps=0.05,
    ),
)
# Harsh instruments, of which some do not measure everything.
EXTENDED = replace(
    HARSH, faulty=replace(HARSH.faulty, lost_voltages=0.08, phase_to_phase=0.06, aron=0.05, residual=0.04)
)


@dataclass(frozen=True)
class Chain:
    """Instruments of ``n`` records; arrays of shape (n, 6) have one value per channel."""

    current_base: Array  # (n,) factor on the currents, due to an unknown rating
    gain: Array  # (n, 6)
    offset: Array  # (n, 6) per unit
    noise: Array  # (n, 6) standard deviation per unit
    lsb: Array  # (n, 6) per unit
    knee_cycles: Array  # (n,) flux at which a CT saturates, in rated current · radians
    remanence: Array  # (n, 3) as a share of the knee
    harmonics: NDArray[np.complex128]  # (n, 3) shares of the fundamental, for the orders HARMONICS
    jitter: Array  # (n,) standard deviation in samples
    lost: NDArray[np.bool_]  # (n, 6)
    stuck: NDArray[np.bool_]  # (n, 6)
    order: NDArray[np.intp]  # (n, 3) phases whose currents are connected as A, B, C
    voltage_order: NDArray[np.intp]  # (n, 3) phases whose voltages are connected as A, B, C
    gap: NDArray[np.intp]  # (n,) length in samples, 0 for none
    phase_to_phase: NDArray[np.bool_]  # (n,) voltages without zero sequence
    aron: NDArray[np.bool_]  # (n,) current of phase B derived from the other two
    residual: NDArray[np.bool_]  # (n,) current of phase B derived from the other two and the residual current
    residual_gain: Array  # (n,)

    def describe(self, record: int) -> dict[str, float | str]:
        """Return the parameters of the instruments of one record."""

        def channels(marked: NDArray[np.bool_]) -> str:
            return " ".join(name for name, is_marked in zip(CHANNELS, marked[record], strict=True) if is_marked)

        derived = {"phase_to_phase": self.phase_to_phase, "aron": self.aron, "residual": self.residual}
        names = " ".join(name for name, marked in derived.items() if marked[record])
        return {
            **({"derived": names} if names else {}),
            "current_base": float(self.current_base[record]),
            "noise_db": float(-20 * np.log10(self.noise[record, 0])),
            "knee_cycles": float(self.knee_cycles[record]),
            "harmonic_part": float(np.abs(self.harmonics[record]).sum()),
            "jitter_samples": float(self.jitter[record]),
            "gap_samples": float(self.gap[record]),
            "lost": channels(self.lost),
            "stuck": channels(self.stuck),
            "reversed": channels(self.gain < 0),
            "connected": self._connected(record),
        }

    def _connected(self, record: int) -> str:
        currents, voltages = (
            "".join("ABC"[phase] for phase in order[record]) for order in (self.order, self.voltage_order)
        )
        return currents if voltages == currents else f"{currents}/{voltages}"


def draw_chains(n: int, rng: np.random.Generator, instruments: Instruments = USUAL) -> Chain:
    """Draw ``n`` measurement chains."""
    faulty = instruments.faulty
    saturable = rng.random(n) < instruments.saturable
    bits = rng.choice([12, 14, 16], (n, 1))
    full_scale = np.where(np.arange(6) < 3, 40.0, 2.5)
    base = _log_uniform(instruments.current_base, n, rng)
    spread = _log_uniform(instruments.gain_error, n, rng)[:, None]
    gain = 1 + spread * rng.normal(0, 1, (n, 6)).clip(-3, 3)
    offset = rng.normal(0, 0.003, (n, 6)).clip(-0.01, 0.01)
    noise = np.repeat(10 ** (-rng.uniform(*instruments.noise_db, (n, 1)) / 20), 6, axis=1)
    knee = np.where(saturable, _log_uniform(instruments.knee, n, rng), np.inf)
    remanence = rng.uniform(-0.6, 0.6, (n, 3))

    # Faults of instruments use a separate generator, so that records of healthy instruments do not depend on them.
    (own,) = rng.spawn(1)
    parts = own.dirichlet(np.ones(len(HARMONICS)), n) * own.uniform(0, instruments.harmonic_part, (n, 1))
    turned = np.exp(1j * own.uniform(0, 2 * np.pi, parts.shape))
    gain[own.random(n) < faulty.reversed, :3] *= -1
    pairs = np.array([(1, 0, 2), (0, 2, 1), (2, 1, 0)])
    swapped = own.random((n, 1)) < faulty.swapped
    (later,) = own.spawn(1)
    gain[_one_channel(n, faulty.turned, later)] *= -1
    several_lost = _one_channel(n, faulty.lost_phase, later)
    several_lost |= np.roll(several_lost, 3, axis=1)
    several_lost[later.random(n) < faulty.lost_voltages, 3:] = True
    healthy_current = np.arange(6) == later.integers(0, 3, (n, 1))
    several_lost |= (np.arange(6) < 3) & ~healthy_current & (later.random((n, 1)) < faulty.lost_currents)
    harmonics = parts * turned * (own.random((n, 1)) < faulty.harmonics)
    jitter = own.uniform(0, instruments.jitter_samples, n) * (own.random(n) < faulty.jitter)
    is_lost = _one_channel(n, faulty.lost, own) | several_lost
    is_stuck = _one_channel(n, faulty.stuck, own)
    order = np.where(swapped, pairs[own.integers(0, 3, n)], np.arange(3))
    (latest,) = later.spawn(1)
    crossed = latest.random((n, 1)) < faulty.crossed
    order = np.where(crossed, ORDERS[latest.integers(0, len(ORDERS), n)], order)
    other = np.take_along_axis(order, ORDERS[latest.integers(1, len(ORDERS), n)], axis=1)
    (newest,) = latest.spawn(1)
    gain[_one_channel(n, faulty.turned_again, newest.spawn(1)[0])] *= -1
    derived = newest.random(n)
    residual_error = _log_uniform(instruments.residual_error, n, newest)
    return Chain(
        current_base=base,
        gain=gain,
        offset=offset,
        noise=noise,
        lsb=2 * full_scale / 2.0**bits,
        knee_cycles=knee,
        remanence=remanence,
        harmonics=harmonics,
        jitter=jitter,
        lost=is_lost,
        stuck=is_stuck,
        order=order,
        voltage_order=np.where(crossed, other, order),
        gap=own.integers(*instruments.gap_samples, n, endpoint=True) * (own.random(n) < faulty.gaps),
        phase_to_phase=newest.random(n) < faulty.phase_to_phase,
        aron=derived < faulty.aron,
        residual=(derived >= faulty.aron) & (derived < faulty.aron + faulty.residual),
        residual_gain=1 + residual_error * newest.normal(0, 1, n).clip(-3, 3),
    )


def _one_channel(n: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    return np.asarray((np.arange(6) == rng.integers(0, 6, (n, 1))) & (rng.random((n, 1)) < share))


def _log_uniform(bounds: tuple[float, float], n: int, rng: np.random.Generator) -> Array:
    low, high = bounds
    return np.asarray(np.exp(rng.uniform(np.log(low), np.log(high), n)))


def measure(samples: Samples, chain: Chain, rng: np.random.Generator, frequency: Array | None = None) -> Samples:
    """Return the true ``samples`` float32 (n, t, 6) as measured by ``chain``.

    Args:
        samples: true samples, per unit.
        chain: measurement chain of every record.
        rng: source of the noise.
        frequency: frequency of every record's fundamental (n,) relative to nominal, for the harmonics.
    """
    n, length = samples.shape[:2]
    (own,) = rng.spawn(1)
    seen = samples.astype(np.float32, copy=True)
    bent = np.flatnonzero(chain.harmonics.any(axis=1))
    if len(bent):
        turns = np.ones(n) if frequency is None else frequency
        seen[bent] = with_harmonics(seen[bent], chain.harmonics[bent], turns[bent])
    residual = seen[chain.residual, :, :3].sum(axis=2)  # the residual CT does not saturate with the load current
    saturable = np.isfinite(chain.knee_cycles)
    if saturable.any():
        seen[saturable, :, :3] = saturate(
            seen[saturable, :, :3], chain.knee_cycles[saturable], chain.remanence[saturable]
        )
    seen = permuted(seen, chain.order, chain.voltage_order)
    if chain.jitter.any():
        seen = jittered(seen, chain.jitter, own)
    # Half of the records have a constant noise relative to nominal; in the others the noise follows the signal.
    level = np.sqrt(np.square(seen, dtype=np.float64).mean(axis=1))
    nominal = np.where(np.arange(6) < 3, 0.35, 0.7)
    follows = rng.random((n, 1)) < 0.5
    deviation = chain.noise * np.where(follows, np.maximum(level, 0.1 * nominal), nominal)
    seen += rng.standard_normal(seen.shape, dtype=np.float32) * deviation[:, None, :].astype(np.float32)
    seen = seen * chain.gain[:, None, :].astype(np.float32) + chain.offset[:, None, :].astype(np.float32)
    seen = quantised(seen, chain.lsb)
    if chain.residual.any():
        sensed = _residual_current(residual, chain, own.spawn(1)[0])
        seen[chain.residual] = from_residual(seen[chain.residual], sensed)
    seen[chain.aron] = aron(seen[chain.aron])
    seen[chain.phase_to_phase] = phase_to_phase(seen[chain.phase_to_phase])
    seen = lost(seen, chain.lost)
    if chain.stuck.any():
        seen = stuck(seen, chain.stuck, np.asarray(own.integers(0, length, n)))
    if chain.gap.any():
        seen = with_gaps(seen, np.asarray(own.integers(0, length, n)), chain.gap)
    seen[:, :, :3] *= chain.current_base[:, None, None].astype(np.float32)
    return seen


def _residual_current(residual: Samples, chain: Chain, rng: np.random.Generator) -> Samples:
    """Return the ``residual`` currents (k, t) of the records that have a residual CT, as these CTs measure them.

    The residual CT has the gain error and the noise of a channel of its own, and the polarity of the other CTs.
    """
    having = chain.residual
    gain = chain.residual_gain[having] * np.sign(chain.gain[having, 1])
    deviation = 0.35 * chain.noise[having, 1] * 0.3  # at a third of rated current, as residual CTs are rated
    noise = rng.standard_normal(residual.shape, dtype=np.float32) * deviation[:, None].astype(np.float32)
    return np.asarray(residual * gain[:, None].astype(np.float32) + noise, np.float32)


def renamed(labels: NDArray[np.int8], chain: Chain) -> NDArray[np.int8]:
    """Return labels (n, t) of `line` classes after the exchange of phases in the wiring."""
    orders, which = np.unique(chain.order, axis=0, return_inverse=True)
    table = np.array([[CLASSES.index(renamed_class(name, order)) for name in CLASSES] for order in orders], np.int8)
    return np.asarray(table[which.reshape(-1)[:, None], labels])


def renamed_class(name: str, order: Sequence[int] | NDArray[np.intp]) -> str:
    """Return the name of a class if phase ``order[k]`` is connected as phase k; pairs are named AB, BC, CA."""
    if name == "none":
        return name
    connected = {"ABC"[k] for k in range(3) if "ABC"[order[k]] in name}
    return next(c for c in CLASSES if set(c) - {"G"} == connected and c.endswith("G") == name.endswith("G"))
