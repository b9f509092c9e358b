"""The version is written in pyproject.toml; every other place agrees with it."""

from __future__ import annotations

import re

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
