"""The domain: the object under the entry point group ``faultline.domains`` that Faultline loads.

Import inside the methods what they need: Faultline loads every installed domain, also where nothing is trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable

import faultline


class Machines(faultline.Domain):
    """Two directions of acceleration at a bearing; no mains, no cycles."""

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
