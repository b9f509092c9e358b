"""The version is written in pyproject.toml; every other place agrees with it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import faultline
from tests.deploy.stack import REPOSITORY, VERSION


@pytest.mark.parametrize(
    ("path", "pattern", "count"),
    [
        ("deploy/Dockerfile", r'image\.version="([^"]*)"', 1),
        ("deploy/Dockerfile", r"-t faultline:([0-9.]*)-[a-z-]+ ", 4),
        ("deploy/secure/prepare.py", r"faultline:(\S*)-cpu", 1),
        ("deploy/kubernetes/base/kustomization.yaml", r"newTag: ([0-9.]*)-(?:cpu|worker)", 2),
        ("deploy/kubernetes/overlays/gpu/kustomization.yaml", r"faultline:([0-9.]*)-(?:gpu|trainer-gpu)", 2),
        ("docker-compose.yml", r"\$\{IMAGE:-faultline:([^}]*)\}-(?:worker|cpu|gpu)", 3),
    ],
)
def test_every_image_has_the_version_of_the_package(path: str, pattern: str, count: int) -> None:
    found = re.findall(pattern, (REPOSITORY / path).read_text("utf-8"))
    assert found == [VERSION] * count


def test_the_package_has_the_version_of_its_project() -> None:
    assert faultline.__version__ == VERSION


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(("minors", "found"), [((0, 99), True), ((98, 99), False)])
def test_make_takes_the_range_of_pythons_from_the_project(tmp_path: Path, minors: tuple[int, int], found: bool) -> None:
    project = (REPOSITORY / "pyproject.toml").read_text("utf-8")
    wanted, count = re.subn(
        r'(?m)^requires-python = ".*"$', f'requires-python = ">=3.{minors[0]},<3.{minors[1]}"', project
    )
    assert count == 1
    (tmp_path / "pyproject.toml").write_text(wanted, "utf-8")
    own = tmp_path / "own.mk"
    own.write_text(f"include {REPOSITORY / 'Makefile'}\nown-python: ; @echo $(PYTHON)\n")
    (tmp_path / "python3").symlink_to(sys.executable)
    path = os.pathsep.join((str(tmp_path), os.environ["PATH"]))
    command = ["make", "--silent", "-f", str(own), "own-python"]
    shown = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=True, timeout=60
    )
    assert bool(shown.stdout.strip()) == found
