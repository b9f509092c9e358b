"""All dependencies have a wheel of the pinned version on every supported platform and version of Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.platforms import PLATFORMS, REPOSITORY, pythons
from tests.deploy.resolution import UNREACHABLE

TARGETS = [f"{platform}:{python}" for platform in PLATFORMS for python in pythons()]
LINUX = [target for target in TARGETS if target.startswith("linux")]
DEADLINE_S = 840  # 30 s of one core; a busy machine takes far longer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def resolve(project: Path, constraints: Path, *targets: str) -> dict[str, dict[str, Any]]:
    """Return pip's solution for each target; skip the test if no index can be reached."""
    command = [sys.executable, "-m", "tests.deploy.resolution", str(project), str(constraints), *targets]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=DEADLINE_S)
    if done.returncode == UNREACHABLE:
        pytest.skip("no package index can be reached")
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"target"')]
    assert len(lines) == len(targets), done.stderr
    return {line["target"]: line for line in lines}


@cache
def everything() -> dict[str, dict[str, Any]]:
    """Resolve what `make setup` installs with the extra bench, and the extra gpu, once for all tests."""
    targets = [f"{target}:dev,bench" for target in TARGETS] + [f"{target}:gpu" for target in LINUX]
    return resolve(REPOSITORY / "pyproject.toml", REPOSITORY / "constraints.txt", *targets)


@pytest.mark.parametrize("target", TARGETS)
def test_all_dependencies_resolve_to_wheels(target: str) -> None:
    found = everything()[f"{target}:dev,bench"]
    assert found["error"] == ""
    machine = target.partition(":")[0]
    tensorflow = {"tensorflow", "tensorflow-cpu"} & set(found["packages"])
    assert tensorflow == {"tensorflow-cpu" if machine == "linux_x86_64" else "tensorflow"}
    assert found["compiled"] == (["faust-streaming==0.15.3"] if machine == "linux_aarch64" else [])
    assert {"keras", "aiokafka", "opendssdirect-py", "openvino", "mkdocs-material"} <= set(found["packages"])


@pytest.mark.parametrize("target", LINUX)
def test_everything_that_is_installed_is_pinned(target: str) -> None:
    pinned = (REPOSITORY / "constraints.txt").read_text("utf-8").lower().replace("_", "-").replace(".", "-")
    loose = [
        name for name in everything()[f"{target}:dev,bench"]["packages"] if f"{name.replace('.', '-')}==" not in pinned
    ]
    assert loose == []


@pytest.mark.parametrize("target", LINUX)
def test_the_extra_gpu_resolves_on_linux(target: str) -> None:
    found = everything()[f"{target}:gpu"]
    assert found["error"] == ""
    assert "nvidia-cudnn-cu12" in found["packages"]
    assert "tensorflow-cpu" not in found["packages"]


def test_a_pin_without_a_wheel_for_one_platform_is_found(tmp_path: Path) -> None:
    # libclang has wheels for all three, OpenVINO's for Linux on aarch64 want a newer glibc than the others.
    project, constraints = tmp_path / "pyproject.toml", tmp_path / "constraints.txt"
    project.write_text('[project]\ndependencies = ["libclang", "openvino"]\n')
    pins = (REPOSITORY / "constraints.txt").read_text("utf-8").splitlines()
    wanted = ("libclang==", "openvino==", "openvino-telemetry==", "numpy==")
    constraints.write_text("\n".join(line for line in pins if line.startswith(wanted)))
    found = resolve(project, constraints, *(f"{platform}:3.11:" for platform in PLATFORMS))
    assert {target: "openvino" in line["error"] for target, line in found.items()} == {
        "linux_x86_64:3.11:": False,
        "linux_aarch64:3.11:": True,
        "macos_arm64:3.11:": False,
    }


def test_without_an_index_the_resolution_says_so() -> None:
    # A port of loopback on which nothing listens.
    offline = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull, "PIP_EXTRA_INDEX_URL": ""}
    command = [
        sys.executable,
        "-m",
        "tests.deploy.resolution",
        "pyproject.toml",
        "constraints.txt",
        f"{TARGETS[0]}:otel",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, env=os.environ | offline, capture_output=True, timeout=DEADLINE_S)
    assert done.returncode == UNREACHABLE
