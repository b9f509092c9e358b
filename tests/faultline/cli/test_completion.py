"""Completion in the shell: it installs, offers the names of the installed domains, and loads nothing heavy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
PLACES = {
    "bash": ".bash_completions/faultline.sh",
    "zsh": ".zfunc/_faultline",
    "fish": ".config/fish/completions/faultline.fish",
}
NO_DETECTION = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
"""The option then takes the shell's name, where it otherwise looks for the shell that runs it."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home folder; the command ``faultline`` is in a folder next to it."""
    folder = tmp_path_factory.mktemp("completion")
    (folder / "bin").mkdir()
    (folder / "home").mkdir()
    command = folder / "bin" / "faultline"
    command.write_text(f"#!{sys.executable}\nfrom faultline.cli import main\n\nmain()\n")
    command.chmod(0o755)
    return folder / "home"


@pytest.fixture(scope="module")
def function(home: Path) -> str:
    """Return the completion function that is installed for bash."""
    return shell(home, "faultline", _FAULTLINE_COMPLETE="source_bash")


def shell(home: Path, *command: str, **variables: str) -> str:
    """Run a command with ``faultline`` on the path and return what it printed."""
    path = os.pathsep.join([str(home.parent / "bin"), os.environ["PATH"]])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FAULTLINE_")}
    environment = {**kept, "PATH": path, "HOME": str(home), "PYTHONPATH": str(REPOSITORY), **variables}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=home)
    assert done.returncode == 0, done.stderr
    return done.stdout


def completed(home: Path, function: str, line: str, **variables: str) -> list[str]:
    """Return the completions that bash offers at the end of a command line, using the installed function."""
    words = line.split(" ")
    script = f"""
        {function}
        COMP_WORDS=({" ".join(words[:-1])} "{words[-1]}")
        COMP_CWORD={len(words) - 1}
        _faultline_completion faultline
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    return shell(home, "bash", "-c", script, **variables).split()


@pytest.mark.parametrize("name", PLACES)
def test_it_is_shown_and_installed_for_a_shell(home: Path, name: str) -> None:
    shown = shell(home, "faultline", "--show-completion", name, **NO_DETECTION)
    assert "_FAULTLINE_COMPLETE=complete_" + name in shown
    assert PLACES[name] in shell(home, "faultline", "--install-completion", name, **NO_DETECTION)
    assert (home / PLACES[name]).read_text().strip() == shown.strip()


def test_the_shell_that_runs_it_is_found(home: Path) -> None:
    shown = shell(home, "bash", "-c", "faultline --show-completion; true")
    assert "complete -o default -F _faultline_completion faultline" in shown


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("faultline robus", ["robustness"]),
        ("faultline train --spec ", ["instant", "line"]),
        ("faultline worker --spec i", ["instant"]),
        ("faultline classify --model ", ["line"]),
        ("faultline replay a.parquet --against l", ["line"]),
        ("faultline subscribe ll", ["ll", "llg", "lll", "lllg"]),
        ("faultline label 5c8f BC", ["BC", "BCG"]),
        ("faultline robustness line --conditions noise,ct", ["noise,ct_saturation"]),
        ("faultline train --architecture cnn-", ["cnn-advanced"]),
    ],
)
def test_names_are_offered(home: Path, function: str, line: str, offered: list[str]) -> None:
    assert completed(home, function, line) == offered


def test_a_spec_that_does_not_exist_offers_no_fault_type(home: Path, function: str) -> None:
    assert completed(home, function, "faultline subscribe --spec nonsense lll") == []
    assert completed(home, function, "faultline subscribe l", FAULTLINE_SPEC="nonsense") == []
