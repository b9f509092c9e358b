"""Define and run the ``faultline`` command line.

Heavy imports (TensorFlow, Faust) happen inside the commands, so that ``--help`` is quick.
"""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from model.errors import FaultlineError

OURS = frozenset({"domains", "faultline", "model", "stream", "training"})
"""Packages of this distribution; if a module of theirs is missing, this is a bug and not a package to install."""
OTHER_IMAGES = (
    "the images whose tags end in -cpu and -trainer-gpu have every command; outside images, reinstall faultline"
)

app = typer.Typer(
    name="faultline",
    help="Detect faults on power lines: read windows of samples from Kafka, classify them and publish fault events."
    "\n\nSettings are environment variables (FAULTLINE_…), also read from a .env file. `faultline doctor` checks the"
    " installation, the settings and the broker.",
    epilog="First run: `faultline demo`. Options and an example of each command: `faultline COMMAND --help`.",
    no_args_is_help=True,
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
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = (False),
) -> None:
    # Logs go to standard error until a command configures logging from the settings; standard output is for results.
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
    """Run an app on the arguments of the process and exit; print a Faultline error as one line on standard error."""
    # Faust parses sys.argv for its own options (--loop, -L, --datadir) when imported, so the arguments are hidden.
    arguments, sys.argv[1:] = sys.argv[1:], []
    try:
        app(arguments)
    except FaultlineError as error:
        print(f"faultline: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package in OURS:
            raise
        # The images of workers leave out packages that no worker imports.
        print(f"faultline: this command needs {package}, which is not installed here: {OTHER_IMAGES}", file=sys.stderr)
        sys.exit(1)
