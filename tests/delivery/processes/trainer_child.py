"""A sidecar for delivery tests that runs another module as its child process, and that can crash at a given point.

``python -m tests.delivery.processes.trainer_child MODULE`` starts it; ``FAULTLINE_TEST_DIE`` names a point at which it
ends by SIGKILL.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from stream.settings import load_settings
from tests.delivery.processes.marked import die
from training.sidecar import champion
from training.sidecar.requests import consumer
from training.sidecar.service import run_sidecar


def arm(place: str) -> None:
    """Crash at a point on a candidate's way to the topic."""
    if place in ("before-publish", "after-publish"):
        publish: Any = champion.ChampionRegistry.publish

        async def dying(self: Any, *arguments: Any) -> None:
            if place == "after-publish":
                await publish(self, *arguments)
            die()

        champion.ChampionRegistry.publish = dying  # type: ignore[method-assign]
    elif place == "before-finish":
        consumer.RequestConsumer.finish = lambda self: die()  # type: ignore[method-assign]
    else:
        raise ValueError(f"no such place: {place}")


if __name__ == "__main__":
    if place := os.environ.get("FAULTLINE_TEST_DIE"):
        arm(place)
    sys.exit(run_sidecar(load_settings(), (sys.executable, "-m", sys.argv[1])))
