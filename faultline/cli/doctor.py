"""``faultline doctor``: what is installed, reachable and permitted, and what to do about the rest."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from faultline.output import print_json

if TYPE_CHECKING:
    from faultline.doctor import Check

COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(
    broker: Annotated[
        str | None, typer.Option(help="Bootstrap servers, host:port[,…]; FAULTLINE_BROKER when not given.")
    ] = None,
    spec: Annotated[str | None, typer.Option(help="Signal spec of the workers; FAULTLINE_SPEC when not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Do not import TensorFlow, which takes seconds.")] = False,
) -> None:
    """Say what is installed, reachable and permitted, and what to do about the rest. Nothing is changed.

    Each line is ok, warn (something works less well) or fail (a worker would not run). The exit status is 1
    when a line says fail.

    Example: FAULTLINE_BROKER=kafka:9092 faultline doctor
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
