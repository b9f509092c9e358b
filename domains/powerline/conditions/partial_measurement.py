"""Define conditions of instruments that do not measure every phase: no voltages, or currents of two phases only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from domains.powerline.conditions.registry import CONDITIONS
from domains.powerline.simulator.imperfections import Samples, aron, from_residual, lost, phase_to_phase
from training.data.episodes import Episodes
from training.evaluation.conditions.condition import Altered, Value, with_samples

SHARES = (20, 40, 60, 80, 100)  # % of the records


def _in_a_share(name: str, description: str, change: Callable[[Samples], Samples]) -> None:
    """Register a condition that applies ``change`` to a share of the records, with ``SHARES`` as severities."""

    def altered(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
        chosen = rng.random(len(clean)) < float(value) / 100
        return with_samples(clean, np.where(chosen[:, None, None], change(clean.samples), clean.samples))

    CONDITIONS.register(Altered(name, "%", SHARES, description, altered))


def _without_voltages(samples: Samples) -> Samples:
    return lost(samples, np.tile(np.arange(6) >= 3, (len(samples), 1)))


def _with_residual_ct(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    gain = 1 + float(value) / 100 * rng.choice([-1.0, 1.0], (len(clean), 1))
    residual = clean.samples[:, :, :3].sum(axis=2) * gain.astype(np.float32)
    return with_samples(clean, from_residual(clean.samples, residual))


_in_a_share("voltages_missing", "Share of the records that have no voltages at all.", _without_voltages)
_in_a_share(
    "phase_to_phase", "Share of the records with phase-to-phase voltages, without zero sequence.", phase_to_phase
)
_in_a_share("aron", "Share of the records with CTs in phases A and C only, without zero sequence.", aron)
CONDITIONS.register(
    Altered(
        "residual_ct",
        "%",
        (1, 2, 5, 10, 20),
        "The current of phase B is derived from a residual CT with this gain error.",
        _with_residual_ct,
    )
)
