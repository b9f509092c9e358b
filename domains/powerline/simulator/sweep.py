"""Draw lines, and the grids behind their two ends, at random within the bounds of a parameter sweep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from domains.powerline.simulator.grids import with_inverter, with_neutral
from domains.powerline.simulator.matrices import Array, sequence_matrix
from domains.powerline.simulator.network import Network

HIGHEST_RESONANCE_HZ = 1800.0
LOWEST_KV = 3.0


@dataclass(frozen=True)
class Level:
    """Typical ranges at one voltage level: length in km, rated current in A, X/R of the line."""

    kilovolt: float
    length_km: tuple[float, float]
    rated_a: tuple[float, float]
    x_over_r: tuple[float, float]


@dataclass(frozen=True)
class ParameterSweep:
    """Bounds within which lines are drawn."""

    position: tuple[float, float] = (0.05, 0.95)
    strength: tuple[float, float] = (4.0, 40.0)  # short-circuit current of an end, in multiples of rated current
    load: tuple[float, float] = (0.05, 1.1)  # current before the fault
    load_angle_deg: float = 30.0  # largest load angle, at any load
    frequency_hz: tuple[float, float] = (-1.0, 1.0)  # deviation from nominal
    untransposed: float = 0.04  # relative deviation of the line's mutual and self impedances
    kilovolt: tuple[float, float] = (10.0, 400.0)  # voltage levels in use
    scale: tuple[float, float] = (1.0, 1.0)  # factor on the voltage: the line stays the same per unit, an ohm is more
    unbalanced_share: float = 0.0  # share of lines with permanent single-phase loads
    unbalance: tuple[float, float] = (0.05, 0.5)  # largest current per unit of each of these loads
    isolated_share: float = 0.0  # share of lines in networks whose neutral is isolated
    resonant_share: float = 0.0  # share of lines in networks whose neutral is earthed through a coil
    earth_current: tuple[float, float] = (0.03, 0.3)  # capacitive earth-fault current in networks of these two kinds
    inverter_local_share: float = 0.0  # share of lines whose measured end is fed by an inverter
    inverter_remote_share: float = 0.0  # share of lines whose remote end is fed by an inverter
    inverter_limit: tuple[float, float] = (1.1, 1.2)  # current of an inverter at a three-phase fault


LEVELS = (
    Level(LOWEST_KV, (0.5, 4), (200, 600), (0.5, 2)),
    Level(6, (1, 8), (200, 500), (0.8, 2.2)),
    Level(10, (2, 15), (200, 400), (1, 2.5)),
    Level(20, (4, 30), (200, 500), (1, 3)),
    Level(66, (10, 60), (300, 600), (2, 5)),
    Level(110, (10, 100), (400, 800), (2.5, 6)),
    Level(220, (20, 180), (600, 1200), (5, 10)),
    Level(400, (40, 300), (1000, 2500), (8, 15)),
)


def _untransposed(matrix: Array, spread: Array) -> Array:
    """Unbalance symmetric matrices by relative deviations ``spread`` (n, 3, 3), and keep them symmetric."""
    return np.asarray(matrix * (1.0 + 0.5 * (spread + spread.transpose(0, 2, 1))))


def _log_uniform(rng: np.random.Generator, low: Array | float, high: Array | float, n: int) -> Array:
    return np.asarray(np.exp(rng.uniform(np.log(low), np.log(high), n)))


def draw_networks(
    n: int, rng: np.random.Generator, nominal_hz: float | None = None, sweep: ParameterSweep | None = None
) -> Network:
    """Draw ``n`` lines of all voltage levels.

    Args:
        n: number of lines.
        rng: source of randomness.
        nominal_hz: 50 or 60; ``None`` draws both.
        sweep: bounds of the parameters; those of ``ParameterSweep`` by default.
    """
    sweep = sweep or ParameterSweep()
    levels = [v for v in LEVELS if sweep.kilovolt[0] <= v.kilovolt <= sweep.kilovolt[1]]
    level = rng.integers(0, len(levels), n)
    bounds = np.array([(*v.length_km, *v.rated_a, *v.x_over_r) for v in levels])[level]
    kilovolt = np.array([v.kilovolt for v in levels])[level]
    nominal = np.full(n, nominal_hz) if nominal_hz else rng.choice([50.0, 60.0], n)
    omega = 2 * np.pi * nominal
    length = _log_uniform(rng, bounds[:, 0], bounds[:, 1], n)
    base_ohm = kilovolt * 1e3 / np.sqrt(3) / _log_uniform(rng, bounds[:, 2], bounds[:, 3], n)

    x1 = rng.uniform(0.28, 0.42, n) * nominal / 50.0
    r1 = x1 / rng.uniform(bounds[:, 4], bounds[:, 5])
    x0, r0 = x1 * rng.uniform(2.2, 3.6, n), r1 + rng.uniform(0.12, 0.3, n)
    c1 = rng.uniform(8e-9, 14e-9, n)
    per_unit = length / base_ohm

    # Short-circuit current of each end in multiples of rated current. A sixth of the lines have a weak remote end with
    # hardly any infeed, as radial feeders do.
    strength_local = _log_uniform(rng, *sweep.strength, n)
    radial = rng.random(n) < 1 / 6
    strength_remote = np.where(radial, _log_uniform(rng, 1.0, 3.0, n), _log_uniform(rng, *sweep.strength, n))
    r_local, l_local = _source(rng, strength_local, omega)
    r_remote, l_remote = _source(rng, strength_remote, omega)

    # This includes the capacitance of cables and other feeders on the buses of short lines. Without it the node would
    # oscillate faster than the solver's step resolves.
    x_near, x_far = 1 / strength_local + x1 * per_unit / 2, 1 / strength_remote + x1 * per_unit / 2
    loop_l = x_near * x_far / (x_near + x_far) / omega
    c1_line = np.maximum(c1 * length * base_ohm, 1 / ((2 * np.pi * HIGHEST_RESONANCE_HZ) ** 2 * loop_l))

    spread = rng.uniform(-sweep.untransposed, sweep.untransposed, (n, 3, 3))
    l_line = _untransposed(sequence_matrix(x1 * per_unit / omega, x0 * per_unit / omega), spread)
    c_line = _untransposed(sequence_matrix(c1_line, c1_line * rng.uniform(0.45, 0.7, n)), -spread)

    total = 1 / strength_local + 1 / strength_remote + np.hypot(x1, r1) * per_unit
    load = np.where(rng.random(n) < 0.25, _log_uniform(rng, 0.005, 0.05, n), rng.uniform(*sweep.load, n))
    drop = np.minimum(load * total, 2 * np.sin(np.radians(sweep.load_angle_deg / 2)))
    emf_local = rng.uniform(0.95, 1.06, n)
    (own,) = rng.spawn(1)
    scale = _log_uniform(own, *sweep.scale, n)
    most = np.where(own.random(n) < sweep.unbalanced_share, _log_uniform(own, *sweep.unbalance, n), 0.0)
    network = Network(
        nominal_hz=nominal,
        frequency_hz=nominal + rng.uniform(*sweep.frequency_hz, n),
        angle=rng.uniform(0, 2 * np.pi, n),
        load_angle=rng.choice([-1.0, 1.0], n) * 2 * np.arcsin(drop / 2),
        emf_local=emf_local,
        emf_remote=emf_local + np.minimum(drop, 0.15) * rng.uniform(-0.4, 0.4, n),
        position=rng.uniform(*sweep.position, n),
        line_vt=rng.random(n) < 0.5,
        base_ohm=base_ohm * scale,
        base_kv=kilovolt * scale,
        r_local=r_local,
        l_local=l_local,
        r_remote=r_remote,
        l_remote=l_remote,
        r_line=sequence_matrix(r1 * per_unit, r0 * per_unit),
        l_line=l_line,
        c_line=c_line,
        # Without loads, trapped charge decays in 10–500 ms.
        shunt=(c1_line / _log_uniform(rng, 0.01, 0.5, n))[:, None] + most[:, None] * own.random((n, 3)),
        unearthed=np.zeros(n, bool),
        arrester=np.full(n, np.inf),
    )
    return _with_other_grids(network, own.spawn(1)[0], sweep)


def _with_other_grids(network: Network, rng: np.random.Generator, sweep: ParameterSweep) -> Network:
    """Draw the lines whose neutral or source differs, by the shares of ``sweep``, and change their networks."""
    neutral, source = rng.random(len(network)), rng.random(len(network))
    isolated = neutral < sweep.isolated_share
    resonant = ~isolated & (neutral < sweep.isolated_share + sweep.resonant_share)
    local = source < sweep.inverter_local_share
    remote = ~local & (source < sweep.inverter_local_share + sweep.inverter_remote_share)
    if local.any():
        network = with_inverter(network, local, rng, sweep.inverter_limit, "local")
    if remote.any():
        network = with_inverter(network, remote, rng, sweep.inverter_limit, "remote")
    if isolated.any():
        network = with_neutral(network, isolated, rng, sweep.earth_current, resonant=False)
    if resonant.any():
        network = with_neutral(network, resonant, rng, sweep.earth_current, resonant=True)
    return network


def _source(rng: np.random.Generator, strength: Array, omega: Array) -> tuple[Array, Array]:
    """Draw the source resistance and inductance matrices of an end with short-circuit current ``strength`` per unit."""
    n = len(strength)
    phi = np.arctan(rng.uniform(5, 25, n))
    r1, x1 = np.cos(phi) / strength, np.sin(phi) / strength
    zero_ratio = rng.uniform(0.6, 3.0, n)
    return sequence_matrix(r1, r1 * zero_ratio), sequence_matrix(x1 / omega, x1 * zero_ratio / omega)
