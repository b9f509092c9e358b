"""Define the interface between the generic packages and a kind of signal, such as power lines.

A domain is an installed object under the entry point group ``faultline.domains``. The generic packages (``model``,
``stream``, ``training``) never import a domain: they load the one that a spec names and call the methods below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.entry_points import GROUP, installed_domains, load_installed
from model.errors import SpecError
from model.normalisation import Normalisation
from model.rejection import Rejection
from model.spec import SignalSpec

__all__ = ["GROUP", "Domain", "Signal", "SignalFeature", "domain_of", "installed_domains", "load_domain"]


@dataclass(frozen=True)
class SignalFeature:
    """A feature of windows that is monitored for drift.

    Attributes:
        name: name for display, with its unit.
        matters: smallest change that is reported as drift; a change of the logarithm if ``logarithmic``.
        logarithmic: True if values are natural logarithms.
        share: True if a line contributes its mean (a share of windows) instead of its median.
    """

    name: str
    matters: float
    logarithmic: bool = False
    share: bool = False

    def plain(self, value: float) -> float:
        """Return a value in the feature's unit, with any logarithm undone."""
        return float(np.exp(value)) if self.logarithmic else value


class Signal:
    """Measurements that a domain takes from a window without a model. The defaults measure nothing."""

    features: tuple[SignalFeature, ...] = ()
    """The features that ``measure`` returns, in its order."""

    def inception_sample(self, window: NDArray[np.float32], spec: SignalSpec) -> int:
        """Return the estimated sample at which the fault in a window (samples, channels) began."""
        return 0

    def quality_flags(self, window: NDArray[np.float32], spec: SignalSpec) -> set[str]:
        """Return the quality flags of the contract that apply to a window (samples, channels)."""
        return set()

    def inception_samples(self, windows: NDArray[np.float32], spec: SignalSpec) -> NDArray[np.intp]:
        """Return ``inception_sample`` of each window (n, samples, channels); override it to take all at once."""
        return np.array([self.inception_sample(window, spec) for window in windows], np.intp)

    def quality_flags_of(self, windows: NDArray[np.float32], spec: SignalSpec) -> list[set[str]]:
        """Return ``quality_flags`` of each window (n, samples, channels); override it to take all at once."""
        return [self.quality_flags(window, spec) for window in windows]

    def measure(self, windows: NDArray[np.float32], spec: SignalSpec) -> NDArray[np.float64]:
        """Return the features (n, features) of windows float32 (n, samples, channels); NaN where unknown."""
        return np.empty((len(windows), 0))


class Domain:
    """Describe one kind of signal. The defaults suit a domain without features of its own.

    Methods import what they need when they are called, so that loading a domain imports neither TensorFlow nor Kafka.
    """

    name: str = ""
    """Name of the domain, as in the entry point and in the specs."""
    title: str = "signals"
    """Name of the signals for display, such as ``power lines``."""
    spec_model: type[SignalSpec] = SignalSpec
    """Class of the domain's specs."""
    normalisation_model: type[Normalisation] = Normalisation
    """Class of the normalisation in the domain's artefacts."""
    rejection_model: type[Rejection] | None = None
    """Class of the bounds in the domain's artefacts that reject out-of-distribution windows; None if it has none."""
    signal: Signal = Signal()
    """Measurements of a window without a model."""

    def specs(self) -> Mapping[str, Traversable]:
        """Return the TOML files of the specs that ship with the domain, by spec name."""
        return {}

    def artefacts(self) -> Mapping[str, Traversable]:
        """Return the model files that ship with the domain, by the name of their spec."""
        return {}

    def layers(self) -> Mapping[str, Any]:
        """Return the Keras layers, by name, that a normalisation of this domain may name as ``feature_layer``.

        A layer maps windows float32 (n, samples, channels) to features (n, features) and has no weights.
        """
        return {}

    def event_model(self) -> Any:
        """Return the domain's subclass of ``stream.contract.FaultEvent``; None for ``FaultEvent`` itself."""
        return None

    def sources(self, spec: SignalSpec, read: Any = None) -> Sequence[Any]:
        """Return the kinds of file that can be replayed besides recordings.

        Each is a ``stream.recordings.sources.SourceKind``.

        Args:
            spec: spec of the windows that are sent.
            read: options that override a file's own header, as an object that the domain defines.
        """
        return ()

    def fan_out(self, source: Any, copies: int, spec: SignalSpec) -> Any:
        """Return a ``stream.recordings.sources.Source`` that sends every line of ``source`` as ``copies`` lines.

        Raises:
            SpecError: the domain cannot derive further lines from one line.
        """
        raise SpecError(f"domain {self.name!r} cannot derive several lines from one")

    def recipe(self, spec: SignalSpec) -> Any:
        """Return the ``training.recipe.Recipe`` that trains and evaluates models of a spec.

        Raises:
            SpecError: the domain has no recipe for this spec.
        """
        raise SpecError(f"domain {self.name!r} has no recipe for spec {spec.name!r}")


def load_domain(name: str) -> Domain:
    """Load an installed domain by name.

    Raises:
        SpecError: no domain of that name is installed; the message lists the installed ones.
    """
    domain: Domain = load_installed(name)
    return domain


def domain_of(spec: SignalSpec) -> Domain:
    """Load the domain that a spec names.

    Raises:
        SpecError: the domain is not installed.
    """
    return load_domain(spec.domain)
