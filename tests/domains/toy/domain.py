"""Vibration of machines as a domain: the least that trains, reports, serves and retrains beside power lines."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from model.domain import Domain
from model.spec import SignalSpec

PARTS = {"imbalance": "rotor", "bearing": "bearing"}
"""Part of a machine that a type of fault is of."""


class Toy(Domain):
    """Two directions of acceleration at a bearing; no mains, no cycles."""

    name = "toy"
    title = "machines"

    def specs(self) -> Mapping[str, Traversable]:
        """Return ``machine``."""
        return {"machine": Path(__file__).with_name("machine.toml")}

    def event_model(self) -> Any:
        """Return the event that names the part."""
        from tests.domains.toy.events import MachineFaultEvent

        return MachineFaultEvent

    def recipe(self, spec: SignalSpec) -> Any:
        """Return the recipe of simulated machines."""
        from tests.domains.toy.recipe import MachineRecipe

        return MachineRecipe(spec)


TOY = Toy()
