"""A training that ends itself by SIGKILL right after an epoch's checkpoint: run by ``test_resume`` in a child."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from training import fit as fitting
from training.checkpoint import Checkpoint, State
from training.instant_recipe import InstantOptions, train_instant


class _Fatal(Checkpoint):
    def save(self, state: State) -> None:
        super().save(state)
        if len(state.history["loss"]) == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    fitting.Checkpoint = _Fatal  # type: ignore[misc]
    train_instant(InstantOptions(Path(sys.argv[1]), seed=1, epochs=4, work_dir=Path(sys.argv[2]), show_progress=False))
