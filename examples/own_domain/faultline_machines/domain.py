"""Define the domain: the object under the entry point group ``faultline.domains`` that Faultline loads.

Methods import what they need when they are called, since Faultline loads every installed domain, even without training.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable

import faultline


class Machines(faultline.Domain):
    """Domain of acceleration at a bearing in two directions, without mains and cycles."""

    name = "machines"
    title = "machines"

    def specs(self) -> Mapping[str, Traversable]:
        """Return the TOML file of every spec by its name."""
        return {"machine": files(__package__) / "machine.toml"}

    def event_model(self) -> type[faultline.FaultEvent]:
        """Return the class of the events."""
        from .events import MachineFaultEvent

        return MachineFaultEvent

    def recipe(self, spec: faultline.SignalSpec) -> faultline.WindowRecipe:
        """Return the recipe that trains and evaluates models of a spec."""
        from .recipe import MachineRecipe

        return MachineRecipe(spec)


MACHINES = Machines()
