"""The child process of a retraining on shuffled labels, whose candidate the gate must refuse."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np

from domains.powerline.data import training_data
from training.sidecar.job import main as job_main


def shuffling(windows: Any) -> Any:
    """Return the windows of ``windows`` with their labels in another order."""

    def shuffled(*arguments: Any) -> Any:
        given = windows(*arguments)
        return replace(given, labels=np.random.default_rng(1).permutation(given.labels))

    return shuffled


if __name__ == "__main__":
    training_data.training_windows = shuffling(training_data.training_windows)
    training_data.hard_windows = shuffling(training_data.hard_windows)
    sys.exit(job_main.main(sys.argv[1:]))
