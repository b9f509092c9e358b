"""Define conditions of the grid behind a line: neutrals that are not earthed solidly, and infeed by inverters."""

from __future__ import annotations

from dataclasses import replace

from domains.powerline.conditions.network import Resimulated
from domains.powerline.conditions.records import USUAL_MIX, resimulated
from domains.powerline.conditions.registry import CONDITIONS
from domains.powerline.simulator.sweep import ParameterSweep
from training.data.episodes import Episodes
from training.evaluation.conditions.condition import Value

MEDIUM_KV = (6.0, 66.0)
RESISTANCE_OHM = (1, 10, 50, 100, 200)
ISOLATED = ParameterSweep(kilovolt=MEDIUM_KV, isolated_share=1.0)
RESONANT = ParameterSweep(kilovolt=MEDIUM_KV, resonant_share=1.0)


def _isolated(n: int, seed: int, value: Value) -> Episodes:
    ohm = (float(value), float(value) * 1.001)
    return resimulated(n, seed, mix=replace(USUAL_MIX, resistance_ohm=ohm), sweep=ISOLATED)


def _resonant(n: int, seed: int, value: Value) -> Episodes:
    ohm = (float(value), float(value) * 1.001)
    return resimulated(n, seed, mix=replace(USUAL_MIX, resistance_ohm=ohm), sweep=RESONANT)


def _inverter(n: int, seed: int, value: Value) -> Episodes:
    end, limit = str(value).split()
    limits = (float(limit), float(limit))
    if end == "remote":
        return resimulated(n, seed, sweep=ParameterSweep(inverter_remote_share=1.0, inverter_limit=limits))
    return resimulated(n, seed, sweep=ParameterSweep(inverter_local_share=1.0, inverter_limit=limits))


CONDITIONS.register(
    Resimulated(
        "isolated_neutral",
        "ohm",
        RESISTANCE_OHM,
        "Fault resistance in networks of 6 to 66 kV with an isolated neutral.",
        _isolated,
    )
)
CONDITIONS.register(
    Resimulated(
        "resonant_neutral",
        "ohm",
        RESISTANCE_OHM,
        "Fault resistance in networks of 6 to 66 kV that are earthed through a coil.",
        _resonant,
    )
)
CONDITIONS.register(
    Resimulated(
        "inverter",
        "",
        ("remote 1.2", "remote 1.1", "local 1.5", "local 1.2", "local 1.1"),
        "End fed by an inverter, and its current limit per unit; the measured end is the local one.",
        _inverter,
    )
)
