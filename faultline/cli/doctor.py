"""Define ``faultline doctor``, which checks installation, settings, broker and rights."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from faultline.cli.completion import spec_names
from faultline.output import print_json

if TYPE_CHECKING:
    from faultline.doctor import Check

COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(
    broker: Annotated[
        str | None, typer.Option(help="Bootstrap servers, host:port[,host:port…] [default: FAULTLINE_BROKER].")
    ] = None,
    spec: Annotated[
        str | None,
        typer.Option(autocompletion=spec_names, help="Signal spec of the workers [default: FAULTLINE_SPEC]."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Do not import TensorFlow, which takes seconds.")] = False,
) -> None:
    """Check the installation, the settings, the broker and the rights on it. Nothing is changed.

    Each line starts with ok, warn (a worker runs, with a restriction) or fail (a worker would not run). A line that
    starts with warn or fail also names the remedy. The exit status is 1 if a check failed.

    Example: `FAULTLINE_BROKER=kafka:9092 faultline doctor`
    """
    from faultline.doctor import diagnose

    checks = diagnose(broker=broker, spec=spec, quick=quick)
    if as_json:
        failed = _as_json(checks)
    elif sys.stdout.isatty():
        failed = _as_table(checks)
    else:
        failed = _as_text(checks)
    raise typer.Exit(1 if failed else 0)


def _as_json(checks: Iterable[Check]) -> bool:
    found = list(checks)
    failed = any(check.level == "fail" for check in found)
    print_json({"ok": not failed, "lines": [dataclasses.asdict(check) for check in found]})
    return failed


def _as_text(checks: Iterable[Check]) -> bool:
    failed = False
    for check in checks:
        typer.echo(f"{check.level:4} {check.area}: {check.message}")
        failed |= check.level == "fail"
    return failed


def _as_table(checks: Iterable[Check]) -> bool:
    """Show a row as soon as its check is done, since some take seconds."""
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    failed = False
    with Live(table, console=Console(), refresh_per_second=8):
        for check in checks:
            table.add_row(Text(check.level, COLOURS[check.level]), Text(check.area, "bold"), Text(check.message))
            failed |= check.level == "fail"
    return failed
