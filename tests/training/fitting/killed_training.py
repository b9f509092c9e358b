"""A training in a process of its own, which may end itself by SIGKILL right after an epoch's checkpoint.

TensorFlow adds up in a fixed order only if a training has the process to itself, as under ``faultline train``.
"""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

from domains.powerline.recipes.instant import InstantOptions, train_instant
from training.fitting import fit as fitting
from training.fitting.checkpoint import Checkpoint, State


def fatal(epochs: int) -> type[Checkpoint]:
    """Return a class of checkpoints that end the process after a given number of epochs."""

    class Fatal(Checkpoint):
        def save(self, state: State) -> None:
            super().save(state)
            if len(state.history["loss"]) == epochs:
                os.kill(os.getpid(), signal.SIGKILL)

    return Fatal


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("data", type=Path)
    options.add_argument("out", type=Path)
    options.add_argument("--work", type=Path)
    options.add_argument("--killed-after", type=int)
    given = options.parse_args()
    if given.killed_after is not None:
        fitting.Checkpoint = fatal(given.killed_after)  # type: ignore[misc]
    train_instant(InstantOptions(given.data, seed=1, epochs=4, work_dir=given.work, show_progress=False)).save(
        given.out
    )
