"""``faultline doctor``: what is installed, reachable and permitted, and what to do about the rest."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from faultline.cli.output import print_json

if TYPE_CHECKING:
    from faultline.doctor import Line

COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(
    broker: Annotated[
        str | None, typer.Option(help="Bootstrap servers, host:port[,…]; FAULTLINE_BROKER when not given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Do not import TensorFlow, which takes seconds.")] = False,
) -> None:
    """Say what is installed, reachable and permitted, and what to do about the rest. Nothing is changed.

    Each line is ok, warn (something works less well) or fail (a worker would not run). The exit status is 1
    when a line says fail.

    Example: FAULTLINE_BROKER=kafka:9092 faultline doctor
    """
    from faultline.doctor import diagnose

    lines = diagnose(broker=broker, quick=quick)
    if as_json:
        failed = _as_json(lines)
    elif sys.stdout.isatty():
        failed = _as_table(lines)
    else:
        failed = _as_text(lines)
    raise typer.Exit(1 if failed else 0)


def _as_json(lines: Iterable[Line]) -> bool:
    found = list(lines)
    failed = any(line.level == "fail" for line in found)
    print_json({"ok": not failed, "lines": [dataclasses.asdict(line) for line in found]})
    return failed


def _as_text(lines: Iterable[Line]) -> bool:
    failed = False
    for line in lines:
        typer.echo(f"{line.level:4} {line.area}: {line.message}")
        failed |= line.level == "fail"
    return failed


def _as_table(lines: Iterable[Line]) -> bool:
    """Rows appear as they are found, since some take seconds."""
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    failed = False
    with Live(table, console=Console(), refresh_per_second=8):
        for line in lines:
            table.add_row(Text(line.level, COLOURS[line.level]), Text(line.area, "bold"), Text(line.message))
            failed |= line.level == "fail"
    return failed
