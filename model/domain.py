"""The seam between the generic machine and a kind of signal, such as power lines.

A domain is an installed object under the entry point group ``faultline.domains``. The machine never imports a domain:
it loads the one that a spec names and asks it for what only the domain knows.
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
    """One feature of windows that is watched for drift.

    Attributes:
        name: for people, with its unit.
        matters: the change that matters, of the logarithm where ``logarithmic``.
        logarithmic: whether values are natural logarithms.
        share: whether a line counts with its mean (a share of windows) instead of its median.
    """

    name: str
    matters: float
    logarithmic: bool = False
    share: bool = False

    def plain(self, value: float) -> float:
        """Return a value in its own unit."""
        return float(np.exp(value)) if self.logarithmic else value


class Signal:
    """What a domain can tell of a window by itself, without a model. The defaults tell nothing."""

    features: tuple[SignalFeature, ...] = ()
    """What ``measure`` returns, in its order."""

    def inception_sample(self, window: NDArray[np.float32], spec: SignalSpec) -> int:
        """Return the sample of a faulty window (samples, channels) at which the fault began, as well as can be told."""
        return 0

    def quality_flags(self, window: NDArray[np.float32], spec: SignalSpec) -> set[str]:
        """Return what is wrong with a window (samples, channels), as quality flags of the contract."""
        return set()

    def measure(self, windows: NDArray[np.float32], spec: SignalSpec) -> NDArray[np.float64]:
        """Return the features (n, features) of windows float32 (n, samples, channels); NaN where not known."""
        return np.empty((len(windows), 0))


class Domain:
    """Describe one kind of signal. The defaults suit a domain without features of its own.

    Methods import what they need when they are called, so that loading a domain costs neither TensorFlow nor Kafka.
    """

    name: str = ""
    """As in the entry point and in the specs."""
    title: str = "signals"
    """What the windows are of, for people: ``power lines``."""
    spec_model: type[SignalSpec] = SignalSpec
    """Class of its specs."""
    normalisation_model: type[Normalisation] = Normalisation
    """Class of the normalisation in its artefacts."""
    rejection_model: type[Rejection] | None = None
    """Class of the bounds in its artefacts that tell windows unlike training; None: it has none."""
    signal: Signal = Signal()

    def specs(self) -> Mapping[str, Traversable]:
        """Return the TOML files of the specs that ship with the domain, by name."""
        return {}

    def artefacts(self) -> Mapping[str, Traversable]:
        """Return the models that ship with the domain, by name of their spec."""
        return {}

    def layers(self) -> Mapping[str, Any]:
        """Return the Keras layers, by name, that a normalisation of this domain may name as ``feature_layer``.

        A layer takes windows float32 (n, samples, channels) to features (n, features) and has no weights.
        """
        return {}

    def event_model(self) -> Any:
        """Return the subclass of ``stream.contract.FaultEvent`` that its events are; None for ``FaultEvent`` itself."""
        return None

    def sources(self, spec: SignalSpec, read: Any = None) -> Sequence[Any]:
        """Return the kinds of file that can be replayed beside recordings, ``stream.recordings.sources.SourceKind``.

        Args:
            spec: of the windows that are sent.
            read: what is known of a file better than it tells, in a form of the domain's own.
        """
        return ()

    def fan_out(self, source: Any, copies: int, spec: SignalSpec) -> Any:
        """Return a ``stream.recordings.sources.Source`` that sends every line of ``source`` as so many lines.

        Raises:
            SpecError: the domain cannot make lines of a line.
        """
        raise SpecError(f"domain {self.name!r} cannot make many lines of one")

    def recipe(self, spec: SignalSpec) -> Any:
        """Return the ``training.recipe.Recipe`` that trains and evaluates models of a spec.

        Raises:
            SpecError: the domain has none for this spec.
        """
        raise SpecError(f"domain {self.name!r} has no recipe for spec {spec.name!r}")


def load_domain(name: str) -> Domain:
    """Load an installed domain by name.

    Raises:
        SpecError: none of that name is installed; the message names those that are.
    """
    domain: Domain = load_installed(name)
    return domain


def domain_of(spec: SignalSpec) -> Domain:
    """Load the domain that a spec names.

    Raises:
        SpecError: it is not installed.
    """
    return load_domain(spec.domain)
