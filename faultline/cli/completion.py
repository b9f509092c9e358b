"""Complete values in the shell: names of specs, models, fault types, classes and conditions.

The shell runs ``faultline`` whenever Tab is pressed, so no function here loads TensorFlow or a Kafka client. On an
error, such as an unknown FAULTLINE_SPEC, the functions return nothing, since a message would disturb the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from model.errors import FaultlineError

if TYPE_CHECKING:
    from model.spec import SignalSpec


def spec_names(incomplete: str) -> list[str]:
    """Return the specs that ship with the installed domains."""
    from model.spec import shipped_specs

    return _starting_with(incomplete, shipped_specs)


def model_names(incomplete: str) -> list[str]:
    """Return the models that ship with the installed domains; if none matches, the shell offers files."""
    from model.domain import installed_domains, load_domain

    return _starting_with(
        incomplete, lambda: [name for domain in installed_domains() for name in load_domain(domain).artefacts()]
    )


def fault_types(context: typer.Context, incomplete: str) -> list[str]:
    """Return the fault types of the spec that the command line or FAULTLINE_SPEC names."""
    return _starting_with(incomplete, lambda: _spec(context).fault_types)


def class_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return the classes of the spec that the command line or FAULTLINE_SPEC names."""
    return _starting_with(incomplete, lambda: _spec(context).class_names)


def condition_names(incomplete: str) -> list[str]:
    """Return the conditions of all recipes that complete the last name of a list separated by commas."""
    from model.domain import domain_of
    from model.spec import load_spec, shipped_specs

    before, comma, last = incomplete.rpartition(",")
    given = set(before.split(","))

    def names() -> Iterable[str]:
        for spec in map(load_spec, shipped_specs()):
            with suppress(FaultlineError):  # the spec has no recipe
                yield from domain_of(spec).recipe(spec).conditions or ()

    return [f"{before}{comma}{name}" for name in _starting_with(last, names) if name not in given]


def _spec(context: typer.Context) -> SignalSpec:
    from model.spec import load_spec
    from stream.settings import load_settings

    return load_spec(context.params.get("spec") or load_settings().spec)


def _starting_with(incomplete: str, names: Callable[[], Iterable[str]]) -> list[str]:
    try:
        return sorted({name for name in names() if name.startswith(incomplete)})
    except FaultlineError:
        return []
