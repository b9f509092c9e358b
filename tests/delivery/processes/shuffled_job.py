"""The child process of a retraining on shuffled labels, whose candidate the gate must refuse."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np

from domains.powerline.data import training_data
from training.sidecar.job import main as job_main


def shuffling(part: Any) -> Any:
    """Return the sequences of ``part`` with the labels of all windows in another order."""

    def shuffled(*arguments: Any, **options: Any) -> Any:
        given = part(*arguments, **options)
        labels = np.random.default_rng(1).permutation(given.labels.reshape(-1))
        return replace(given, labels=labels.reshape(given.labels.shape))

    return shuffled


if __name__ == "__main__":
    training_data.training_part = shuffling(training_data.training_part)
    sys.exit(job_main.main(sys.argv[1:]))
