"""What an instrument makes of a line's currents and voltages: the measurement chain, drawn per record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.simulator.network import SAMPLES_PER_CYCLE, Array

Samples = NDArray[np.float32]
SATURABLE = 0.2  # share of records whose current transformers may saturate


@dataclass(frozen=True)
class Chain:
    """Instruments of ``n`` records; per channel where the shape is (n, 6)."""

    current_base: Array  # (n,) what one per unit of current is shown as: the line's rating is often unknown
    gain: Array  # (n, 6)
    offset: Array  # (n, 6) per unit
    noise: Array  # (n, 6) standard deviation per unit
    lsb: Array  # (n, 6) per unit
    knee_cycles: Array  # (n,) flux at which a current transformer saturates, in rated current · radians
    remanence: Array  # (n, 3) part of the knee


def draw_chains(
    n: int,
    rng: np.random.Generator,
    noise_db: tuple[float, float] = (20.0, 60.0),
    knee: tuple[float, float] = (3.0, 40.0),
) -> Chain:
    """Draw ``n`` measurement chains.

    Args:
        n: how many records.
        rng: the source of randomness.
        noise_db: how far the noise lies below the nominal value or the record's own level.
        knee: current, in multiples of the rated one, at which saturable transformers begin to saturate.
    """
    saturable = rng.random(n) < SATURABLE
    bits = rng.choice([12, 14, 16], (n, 1))
    full_scale = np.where(np.arange(6) < 3, 40.0, 2.5)
    return Chain(
        current_base=np.exp(rng.uniform(np.log(0.2), np.log(5.0), n)),
        gain=1 + rng.normal(0, 0.01, (n, 6)).clip(-0.03, 0.03),
        offset=rng.normal(0, 0.003, (n, 6)).clip(-0.01, 0.01),
        noise=np.repeat(10 ** (-rng.uniform(*noise_db, (n, 1)) / 20), 6, axis=1),
        lsb=2 * full_scale / 2.0**bits,
        knee_cycles=np.where(saturable, np.exp(rng.uniform(np.log(knee[0]), np.log(knee[1]), n)), np.inf),
        remanence=rng.uniform(-0.6, 0.6, (n, 3)),
    )


def measure(samples: Samples, chain: Chain, rng: np.random.Generator) -> Samples:
    """Return what ``chain`` reports of the true ``samples`` float32 (n, t, 6)."""
    seen = samples.astype(np.float32, copy=True)
    saturable = np.isfinite(chain.knee_cycles)
    if saturable.any():
        seen[saturable, :, :3] = saturate(
            seen[saturable, :, :3], chain.knee_cycles[saturable], chain.remanence[saturable]
        )
    # Half of the records carry the instrument's own noise, relative to nominal, half one that follows the signal.
    level = np.sqrt(np.square(seen, dtype=np.float64).mean(axis=1))
    nominal = np.where(np.arange(6) < 3, 0.35, 0.7)
    follows = rng.random((len(seen), 1)) < 0.5
    deviation = chain.noise * np.where(follows, np.maximum(level, 0.1 * nominal), nominal)
    seen += rng.standard_normal(seen.shape, dtype=np.float32) * deviation[:, None, :].astype(np.float32)
    seen = seen * chain.gain[:, None, :].astype(np.float32) + chain.offset[:, None, :].astype(np.float32)
    lsb = chain.lsb[:, None, :].astype(np.float32)
    seen = np.round(seen / lsb) * lsb
    seen[:, :, :3] *= chain.current_base[:, None, None].astype(np.float32)
    return seen


def saturate(current: Samples, knee: Array, remanence: Array) -> Samples:
    """Return the secondary current (n, t, 3) of current transformers with a resistive burden.

    The flux integrates the secondary current; what exceeds ``knee`` (n,) is taken by the magnetising branch, whose
    slope beyond the knee makes it carry nearly all. Implicit Euler, which is stable whatever that slope.
    """
    step = 2 * np.pi / SAMPLES_PER_CYCLE
    limit = knee[:, None] * np.ones(3)
    flux = remanence * limit
    slope = 60.0  # per radian: some nine tenths of the current beyond the knee is lost
    seen = np.empty_like(current)
    for k in range(current.shape[1]):
        now = current[:, k]
        free = flux + step * now
        over = np.clip(np.abs(free) - limit, 0.0, None)
        flux = free - np.sign(free) * over * (step * slope / (1 + step * slope))
        magnetising = np.sign(flux) * np.clip(np.abs(flux) - limit, 0.0, None) * slope
        seen[:, k] = now - magnetising
    return seen
