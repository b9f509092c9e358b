"""The error hierarchy's root and the errors of models. Every message says what to do next."""


class FaultlineError(Exception):
    """Anything that Faultline reports to its user in one line. ``exit_status`` ends the command line."""

    exit_status = 1


class SpecError(FaultlineError):
    """A signal spec cannot be read or contradicts itself."""


class ArtefactError(FaultlineError):
    """An artefact cannot be used. Subclasses name the reason; ``reason`` is its metric label."""

    reason = "invalid"


class TruncatedArtefactError(ArtefactError):
    """The artefact ends before its header says it does."""

    reason = "truncated"


class CorruptArtefactError(ArtefactError):
    """A hash does not match: some bit changed since the artefact was written."""

    reason = "corrupt"


class ShapeArtefactError(ArtefactError):
    """Tensor names, shapes or types are not those that the architecture and spec require."""

    reason = "shape"


class OversizeArtefactError(ArtefactError):
    """The artefact is larger than a model of ours can be."""

    reason = "oversize"


class EngineError(FaultlineError):
    """The engine cannot classify what it was given."""


class SigningError(FaultlineError):
    """A key cannot be read, written or used."""
