"""Define the root of the error hierarchy and the errors of models. Every message says what to do next."""


class FaultlineError(Exception):
    """An error that Faultline reports to its user in one line; the command line exits with ``exit_status``."""

    exit_status = 1


class SpecError(FaultlineError):
    """A signal spec cannot be read or contradicts itself."""


class ArtefactError(FaultlineError):
    """An artefact cannot be used. Each reason has a subclass, and ``reason`` is its metric label."""

    reason = "invalid"


class TruncatedArtefactError(ArtefactError):
    """The artefact is shorter than its header states."""

    reason = "truncated"


class CorruptArtefactError(ArtefactError):
    """A hash does not match: the artefact has changed since it was written."""

    reason = "corrupt"


class ShapeArtefactError(ArtefactError):
    """Tensor names, shapes or types differ from those that the architecture and spec require."""

    reason = "shape"


class OversizeArtefactError(ArtefactError):
    """The artefact is larger than a Faultline model can be."""

    reason = "oversize"


class EngineError(FaultlineError):
    """The engine cannot classify its input."""


class SigningError(FaultlineError):
    """A key cannot be read, written or used."""
