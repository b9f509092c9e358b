"""The command line. Heavy imports (TensorFlow, Faust) happen inside the commands, so that ``--help`` is quick."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from model.errors import FaultlineError

app = typer.Typer(
    name="faultline",
    help="Streaming fault detection for power lines: windows of currents and voltages in, fault events out.\n\n"
    "Settings come from the environment (FAULTLINE_…) or a .env file; `faultline doctor` tells what is missing.",
    epilog="First run: `faultline demo`.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from faultline import __version__

        typer.echo(f"faultline {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it and stop.")] = (
        False
    ),
) -> None:
    # Until a command configures logs by the settings: nothing on standard output, which is for results.
    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def main() -> None:
    """Run the command line."""
    from faultline.cli.commands import register

    register(app)
    run(app)


def run(app: typer.Typer) -> None:
    """Run an app on the process's arguments and exit; print an error of ours as one line on standard error."""
    # Importing faust reads sys.argv for options of its own (--loop, -L, --datadir): ours are not for it.
    arguments, sys.argv[1:] = sys.argv[1:], []
    try:
        app(arguments)
    except FaultlineError as error:
        print(f"faultline: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
