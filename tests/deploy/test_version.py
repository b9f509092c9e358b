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
        ("deploy/Dockerfile", r"-t faultline:(\S*)-[cg]pu", 2),
        ("deploy/secure/prepare.py", r"faultline:(\S*)-cpu", 1),
        ("deploy/kubernetes/base/kustomization.yaml", r"newTag: (\S*)-cpu", 1),
        ("deploy/kubernetes/overlays/gpu/kustomization.yaml", r"newTag: (\S*)-gpu", 1),
        ("docker-compose.yml", r"\$\{IMAGE:-faultline:([^}]*)\}-[cg]pu", 2),
    ],
)
def test_every_image_has_the_version_of_the_package(path: str, pattern: str, count: int) -> None:
    found = re.findall(pattern, (REPOSITORY / path).read_text("utf-8"))
    assert found == [VERSION] * count


def test_the_package_has_the_version_of_its_project() -> None:
    assert faultline.__version__ == VERSION
