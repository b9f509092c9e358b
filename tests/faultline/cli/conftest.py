"""Fixtures of the tests that call commands in this process."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from faultline.cli import app
from faultline.cli.commands import register


@pytest.fixture(scope="module")
def command() -> CliRunner:
    if not app.registered_commands:
        register(app)
    return CliRunner()
