"""Find installed domains by name: objects under the entry point group ``faultline.domains`` of installed packages.

``model.spec`` finds the class of a spec here, so this module cannot import it and returns untyped objects. All other
code uses ``model.domain``.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import Any

from model.errors import SpecError

__all__ = ["GROUP", "installed_domains", "load_installed"]

GROUP = "faultline.domains"


def installed_domains() -> tuple[str, ...]:
    """Return the names of the installed domains."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


@cache
def load_installed(name: str) -> Any:
    """Load an installed domain by name.

    Raises:
        SpecError: no domain of that name is installed (the message lists the installed ones), or it cannot be
            imported.
    """
    for point in entry_points(group=GROUP):
        if point.name == name:
            try:
                return point.load()
            except (ImportError, AttributeError) as error:
                raise SpecError(
                    f"domain {name!r} is installed ({point.value}) but cannot be loaded: {error}"
                ) from error
    raise SpecError(
        f"no domain {name!r} is installed; there are {', '.join(installed_domains()) or 'none'}."
        f" A domain is an entry point of the group {GROUP}"
    )
