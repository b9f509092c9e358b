"""Commands, targets and modules that the documentation shows exist as they are written."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from stream.settings import PREFIX, Settings
from stream.settings.tracing import OTEL_NAMES
from tests.docs.command_lines import finding, shell_lines, simple_commands
from training.gate.thresholds import GateThresholds

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")])
TARGETS = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def commands(path: Path) -> list[list[str]]:
    return [words for line in shell_lines(path) for words in simple_commands(line)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_command_line_is_taken_by_its_parser(path: Path) -> None:
    findings = []
    for words in commands(path):
        if "faultline" in words and words[:2] == ["docker", "compose"]:
            words = words[words.index("faultline") :]
        if words[0].rsplit("/", 1)[-1] == "faultline":
            findings.append(finding(words))
        elif words[0] == "make":
            findings += [f"no target {word}" for word in words[1:] if "=" not in word and word not in TARGETS]
        elif words[:2] == ["python", "-m"]:
            findings.append(None if importlib.util.find_spec(words[2]) else f"no module {words[2]}")
    assert [text for text in findings if text] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_variable_that_a_document_names_is_a_setting(path: Path) -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | set(OTEL_NAMES)
    known |= {f"FAULTLINE_GATE_{name.upper()}" for name in GateThresholds.model_fields}
    named = set(re.findall(r"\bFAULTLINE_[A-Z0-9_]*[A-Z0-9]\b(?!_)", path.read_text(encoding="utf-8")))
    assert named - known == set()


def test_the_tutorials_show_commands_of_ours() -> None:
    shown = [words for path in DOCUMENTS if path.parent.name == "tutorials" for words in commands(path)]
    assert len([words for words in shown if words[0].endswith("faultline")]) >= 15


def test_the_readme_fits_one_and_a_half_screens() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= 90


def test_a_wrong_command_line_is_found() -> None:
    assert finding(["faultline", "replay", "a.parquet", "--pace", "10"]) is None
    assert finding(["faultline", "models", "promote", "a.safetensors", "--reason", "x"]) is None
    for wrong in ("faultline nonsense", "faultline replay", "faultline replay a b", "faultline models list --no-such"):
        assert finding(wrong.split()), wrong
