"""Describe the machine and the versions, which a reader needs to interpret the figures."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.contenders.quix_engine import FOLDER as QUIX_FOLDER

PACKAGES = (
    "faust-streaming",
    "aiokafka",
    "confluent-kafka",
    "quixstreams",
    "tensorflow-cpu",
    "tensorflow",
    "keras",
    "numpy",
    "msgspec",
    "uvloop",
)


def machine() -> dict[str, Any]:
    """Return cores, processor, memory, system and load average."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": _processor(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": [round(load, 2) for load in os.getloadavg()],
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the contenders' packages that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    # Quix Streams has its own version of confluent-kafka; see contenders.quix_engine.
    for one in distributions(path=[str(QUIX_FOLDER)]):
        if one.name in ("quixstreams", "confluent-kafka"):
            found[one.name if one.name == "quixstreams" else f"{one.name} of quixstreams"] = one.version
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
