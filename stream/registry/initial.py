"""Choose the model for a topic ``models`` without a champion: the one in the settings, else the shipped one."""

from __future__ import annotations

from pathlib import Path

from model.artefact import Artefact, shipped
from model.errors import ArtefactError
from model.spec import SignalSpec
from stream.settings import Settings


def choose_artefact(settings: Settings, spec: SignalSpec) -> tuple[Artefact, str]:
    """Return the artefact to start with and its origin, a path or "shipped".

    Raises:
        ArtefactError: no artefact is shipped for the spec, or the artefact is for another spec.
    """
    if settings.model is not None:
        artefact, origin = Artefact.load(Path(settings.model)), settings.model
    else:
        artefact, origin = shipped(spec.name), "shipped"
    artefact_spec = artefact.manifest.spec
    if artefact_spec.digest != spec.digest:
        raise ArtefactError(
            f"the artefact {origin} is for spec {artefact_spec.name!r}"
            + (", but in another version" if artefact_spec.name == spec.name else f", not {spec.name!r}")
            + "; set FAULTLINE_SPEC to the artefact's spec or FAULTLINE_MODEL to an artefact of this spec"
        )
    return artefact, origin
