"""The model that a process begins with while the topic ``models`` has none: the one it was given, else the shipped."""

from __future__ import annotations

from pathlib import Path

from model.artefact import Artefact, shipped
from model.errors import ArtefactError
from model.spec import SignalSpec
from stream.settings import Settings


def choose_artefact(settings: Settings, spec: SignalSpec) -> tuple[Artefact, str]:
    """Return the artefact to start with and where it is from.

    Raises:
        ArtefactError: none ships for the spec, or the artefact is for another spec.
    """
    if settings.model is not None:
        artefact, origin = Artefact.load(Path(settings.model)), settings.model
    else:
        artefact, origin = shipped(spec.name), "shipped"
    theirs = artefact.manifest.spec
    if theirs.digest != spec.digest:
        raise ArtefactError(
            f"the artefact {origin} is for spec {theirs.name!r}"
            + (", but in another version" if theirs.name == spec.name else f", not {spec.name!r}")
            + "; set FAULTLINE_SPEC to the artefact's spec or FAULTLINE_MODEL to an artefact of this spec"
        )
    return artefact, origin
