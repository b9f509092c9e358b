"""Where this process runs, so that an advice fits: nobody starts a broker inside the container of an image of ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

Surroundings = Literal["docker", "kubernetes", "host"]
IMAGE_PREFIX = Path("/opt/faultline")
"""Where our images have Python's packages (deploy/Dockerfile)."""
HOW_TO_START: dict[Surroundings, str] = {
    "docker": "start the stack on the host (docker compose up -d) or set FAULTLINE_BROKER",
    "kubernetes": "look at the broker's pods and at the network policies, or set FAULTLINE_BROKER",
    "host": "start one (faultline broker, or docker compose up -d broker) or set FAULTLINE_BROKER",
}
"""What to do where no broker answers."""


def surroundings(prefix: Path | None = None, environment: Mapping[str, str] = os.environ) -> Surroundings:
    """Return what this process runs in: a container of our images, under Docker or Kubernetes, or anything else.

    Args:
        prefix: of Python's installation; this process's own when None.
        environment: Kubernetes sets KUBERNETES_SERVICE_HOST in every pod.
    """
    if (Path(sys.prefix) if prefix is None else prefix) != IMAGE_PREFIX:
        return "host"
    return "kubernetes" if "KUBERNETES_SERVICE_HOST" in environment else "docker"
