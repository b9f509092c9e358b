"""The help of every command comes without the libraries that take seconds to load."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import json, logging, sys
import typer.main
from typer.testing import CliRunner
from faultline.cli import app
from faultline.cli.commands import register

HEAVY = ("tensorflow", "keras", "pandas", "matplotlib", "scipy", "sklearn", "pyarrow", "faust", "aiokafka", "numpy",
         "confluent_kafka", "river", "stream.settings")

def commands(command, path):
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, [*path, name])

register(app)
shown = {}
for path in commands(typer.main.get_command(app), []):
    done = CliRunner().invoke(app, [*path, "--help"])
    shown[" ".join(path)] = [done.exit_code, "Usage:" in done.output, [name for name in HEAVY if name in sys.modules]]
print(json.dumps(shown))
"""


def test_the_help_of_every_command_loads_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    shown = json.loads(done.stdout)
    assert {"", "train", "worker", "report", "report open", "models promote", "topics check"} <= set(shown)
    assert shown == {path: [0, True, []] for path in shown}
