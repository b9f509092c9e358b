"""Check that what CONTRIBUTING.md, README.md and the hooks name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pre_commit.clientlib import load_config

from tests.deploy.platforms import PLATFORMS, pythons

REPOSITORY = Path(__file__).resolve().parents[1]
TEXTS = ("CONTRIBUTING.md", "README.md", "SECURITY.md", "ARCHITECTURE.md")


def read(name: str) -> str:
    return (REPOSITORY / name).read_text("utf-8")


@pytest.mark.parametrize("name", TEXTS)
def test_every_make_target_that_a_text_names_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", read(name), re.MULTILINE))
    assert named <= targets


def test_help_lists_every_target_in_a_group() -> None:
    lines = read("Makefile").splitlines()
    phony = re.findall(r"[a-z-]+", read("Makefile").split(".PHONY:")[1].replace("\\\n", " ").splitlines()[0])
    described = [line.split(":")[0] for line in lines if re.match(r"[a-z-]+:.*## ", line)]
    assert sorted(described) == sorted(phony)
    first_group = next(number for number, line in enumerate(lines) if line.startswith("##@ "))
    assert all(lines.index(line) > first_group for line in lines if re.match(r"(?!help)[a-z-]+:.*## ", line))


@pytest.mark.parametrize("name", TEXTS)
def test_every_linked_file_exists(name: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", read(name)) if "://" not in link]
    assert [link for link in links if not (REPOSITORY / link).exists()] == []


def test_the_table_of_where_a_change_goes_names_existing_places() -> None:
    table = read("CONTRIBUTING.md").split("## Where a change goes")[1].split("## ")[0]
    places = [place for place in re.findall(r"`([a-zA-Z_./-]+)`", table) if "/" in place or place.endswith(".yml")]
    assert len(places) > 15
    assert [place for place in places if not (REPOSITORY / place).exists()] == []


def test_the_hooks_run_tools_of_the_environment() -> None:
    hooks = load_config(REPOSITORY / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    tools = {hook["entry"].split()[0] for hook in hooks}
    assert tools == {".venv/bin/ruff", ".venv/bin/lint-imports", ".venv/bin/mypy"}
    lint = read("Makefile").split("lint: $(READY)")[1].split("format:")[0]
    assert all(f"$(BIN)/{Path(tool).name}" in lint for tool in tools)


def test_the_workflow_covers_every_platform_and_python() -> None:
    jobs = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]
    matrix = jobs["quick"]["strategy"]["matrix"]
    assert tuple(matrix["python"]) == pythons()
    assert len(matrix["os"]) == len(PLATFORMS)
    assert [step["run"] for step in jobs["whole"]["steps"] if "run" in step] == [".ci/run"]
