"""The seam between the generic machine and a kind of signal, such as power lines.

A domain is an installed object under the entry point group ``faultline.domains``. The machine never imports a domain:
it loads the one that a spec names and asks it for what only the domain knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import SpecError
from model.spec import SignalSpec

__all__ = ["GROUP", "Domain", "domain_of", "installed_domains", "load_domain"]

GROUP = "faultline.domains"


class Domain:
    """Describe one kind of signal. The defaults suit a domain without features of its own.

    Methods import what they need when they are called, so that loading a domain costs no TensorFlow.
    """

    name: str = ""

    def specs(self) -> Mapping[str, Traversable]:
        """Return the TOML files of the specs that ship with the domain, by name."""
        return {}

    def artefacts(self) -> Mapping[str, Traversable]:
        """Return the models that ship with the domain, by name of their spec."""
        return {}

    def layers(self) -> Mapping[str, Any]:
        """Return the Keras feature layers that an architecture of this domain may name."""
        return {}

    def inception_sample(self, window: NDArray[np.float32], spec: SignalSpec) -> int:
        """Return the sample of a faulty window (samples, channels) at which the fault began, as well as can be told."""
        return 0

    def quality_flags(self, window: NDArray[np.float32], spec: SignalSpec) -> set[str]:
        """Return what is wrong with a window (samples, channels), as quality flags of the contract."""
        return set()

    def recipe(self, spec: SignalSpec) -> Any:
        """Return the ``training.recipe.Recipe`` that trains and evaluates models of a spec.

        Raises:
            SpecError: the domain has none for this spec.
        """
        raise SpecError(f"domain {self.name!r} has no recipe for spec {spec.name!r}")


def installed_domains() -> tuple[str, ...]:
    """Return the names of the installed domains."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


@cache
def load_domain(name: str) -> Domain:
    """Load an installed domain by name.

    Raises:
        SpecError: none of that name is installed; the message names those that are.
    """
    for point in entry_points(group=GROUP):
        if point.name == name:
            domain: Domain = point.load()
            return domain
    raise SpecError(
        f"no domain {name!r} is installed; there are {', '.join(installed_domains()) or 'none'}."
        f" A domain is an entry point of the group {GROUP}"
    )


def domain_of(spec: SignalSpec) -> Domain:
    """Load the domain that a spec names.

    Raises:
        SpecError: it is not installed.
    """
    return load_domain(spec.domain)
