"""Define the domain object of power lines, the only object of this package that the generic core uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from domains.powerline.normalisation import PowerLineNormalisation
from domains.powerline.rejection import PowerLineRejection
from domains.powerline.signal import PowerLineSignal
from domains.powerline.spec import PowerLineSpec
from model.domain import Domain
from model.spec import SignalSpec

__all__ = ["POWERLINE", "PowerLine"]


class PowerLine(Domain):
    """Three-phase currents and voltages of a line, classified by windows of mains cycles."""

    name = "powerline"
    title = "power lines"
    spec_model = PowerLineSpec
    normalisation_model = PowerLineNormalisation
    rejection_model = PowerLineRejection
    signal = PowerLineSignal()

    def specs(self) -> Mapping[str, Traversable]:
        """Return the specs ``line`` and ``instant``, in the order in which messages list them."""
        files = _files("specs", ".toml")
        return {name: files[name] for name in ("line", "instant")}

    def artefacts(self) -> Mapping[str, Traversable]:
        """Return the shipped model of ``line``."""
        return _files("artefacts", ".safetensors")

    def layers(self) -> Mapping[str, Any]:
        """Return the layer that measures phasors."""
        from domains.powerline.phasors import Phasors

        return {"phasors": Phasors}

    def sources(self, spec: SignalSpec, read: Any = None) -> Sequence[Any]:
        """Return the kinds of file that can be replayed: ``classData.csv`` and waveform records.

        ``read`` are ``waveforms.ReadOptions`` for the waveform records.
        """
        from domains.powerline.replay import source_kinds

        return source_kinds(spec, read)

    def fan_out(self, source: Any, copies: int, spec: SignalSpec) -> Any:
        """Return a source that sends each line several times, with rotated phases and some cycles apart."""
        from domains.powerline.fan_out import FanOut

        return FanOut(source, copies, spec)

    def event_model(self) -> Any:
        """Return the class of events with phases, ground and cycles."""
        from domains.powerline.events import PowerLineFaultEvent

        return PowerLineFaultEvent

    def recipe(self, spec: SignalSpec) -> Any:
        """Return the recipe of `line` or `instant`; other specs get the recipe of `line` if their windows fit it."""
        from domains.powerline.recipes.recipe import recipe

        return recipe(spec)


def _files(folder: str, ending: str) -> dict[str, Traversable]:
    there = (resources.files("domains.powerline") / folder).iterdir()
    return {file.name.removesuffix(ending): file for file in there if file.name.endswith(ending)}


POWERLINE = PowerLine()
