"""Fixtures of the domain of ``examples/own_domain``: installed, and a model of it trained by the command line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from faultline.cli.commands import register
from model.artefact import Artefact
from model.spec import SignalSpec, load_spec
from tests.model.installed_domain import REPOSITORY, installed_project

OWN_DOMAIN = REPOSITORY / "examples" / "own_domain"
Command = Callable[..., str]
"""Runs one of our commands and returns what it printed."""


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignalSpec]:
    """Return the spec of machines while their domain is installed."""
    with installed_project(tmp_path_factory.mktemp("installed"), OWN_DOMAIN):
        yield load_spec("machine")


@pytest.fixture(scope="module")
def command() -> Command:
    app = typer.Typer()
    register(app)

    def run(*arguments: str | Path, exit_code: int = 0, **environment: str) -> str:
        root = logging.getLogger()
        handlers = root.handlers[:]
        done = CliRunner(env=environment).invoke(app, [str(argument) for argument in arguments])
        root.handlers[:] = handlers  # a command's own writes to the runner's standard error, which is closed by now
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == exit_code, done.output
        return done.output

    return run


@pytest.fixture(scope="module")
def model(spec: SignalSpec, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an artefact trained by ``faultline train``."""
    path = tmp_path_factory.mktemp("model") / "machine.safetensors"
    print(command("train", "--spec", "machine", "--out", path, "--quiet"))
    return path


@pytest.fixture(scope="module")
def artefact(model: Path) -> Artefact:
    return Artefact.load(model)
