"""The platforms and versions of Python on which the dependencies must install."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]


@dataclass(frozen=True)
class Platform:
    """One platform: the values of its environment markers, and the tags of the wheels that run on it."""

    markers: dict[str, str]
    tags: tuple[str, ...]
    bench_tags: tuple[str, ...] = ()
    """Further tags for the extra ``bench`` alone."""


def _linux(machine: str, *, legacy: tuple[str, ...] = (), bench: tuple[str, ...] = ()) -> Platform:
    # glibc 2.28: Debian 10, RHEL 8, Amazon Linux 2023 (2.34) and everything later.
    names = [f"manylinux_2_{minor}" for minor in range(28, 16, -1)] + ["manylinux2014", *legacy]
    seen = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux", "platform_machine": machine}
    tags, further = (tuple(f"{name}_{machine}" for name in group) for group in (names, bench))
    return Platform(seen, tags, further)


def _macos(machine: str) -> Platform:
    # macOS 14: onnxruntime asks for it, confluent-kafka for 13 (on Python 3.13), TensorFlow for 12.
    versions = [f"{major}_0" for major in (14, 13, 12, 11)] + [f"10_{minor}" for minor in range(16, 8, -1)]
    seen = {"os_name": "posix", "sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": machine}
    return Platform(seen, tuple(f"macosx_{version}_{kind}" for version in versions for kind in (machine, "universal2")))


PLATFORMS = {
    "linux_x86_64": _linux("x86_64", legacy=("manylinux_2_12", "manylinux_2_5", "manylinux2010", "manylinux1")),
    # OpenVINO asks for glibc 2.35 there (Debian 12, Ubuntu 22.04).
    "linux_aarch64": _linux("aarch64", bench=("manylinux_2_35",)),
    "macos_arm64": _macos("arm64"),
}


def pythons() -> tuple[str, ...]:
    """Return the Pythons that pyproject.toml admits: ``("3.11", "3.12", …)``."""
    low, high = (int(bound.rpartition(".")[2]) for bound in PROJECT["requires-python"].split(","))
    return tuple(f"3.{minor}" for minor in range(low, high))
