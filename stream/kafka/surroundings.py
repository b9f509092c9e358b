"""Detect whether the process runs in a container, so that advice fits: a broker is not started inside a container."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

Surroundings = Literal["docker", "kubernetes", "host"]
IMAGE_PREFIX = Path("/opt/faultline")
"""Folder of Python's packages in Faultline's images (deploy/Dockerfile)."""
HOW_TO_START: dict[Surroundings, str] = {
    "docker": "start the stack on the host (docker compose up -d) or set FAULTLINE_BROKER",
    "kubernetes": "check the broker's pods and the network policies, or set FAULTLINE_BROKER",
    "host": "start one (faultline broker, or docker compose up -d broker) or set FAULTLINE_BROKER",
}
"""Advice for the case that no broker answers."""


def surroundings(prefix: Path | None = None, environment: Mapping[str, str] = os.environ) -> Surroundings:
    """Return "docker" or "kubernetes" in a container of Faultline's images, else "host".

    Args:
        prefix: prefix of the Python installation; that of this process when None.
        environment: environment variables; Kubernetes sets KUBERNETES_SERVICE_HOST in every pod.
    """
    if (Path(sys.prefix) if prefix is None else prefix) != IMAGE_PREFIX:
        return "host"
    return "kubernetes" if "KUBERNETES_SERVICE_HOST" in environment else "docker"
