"""The child process of a retraining, training on labels that were shuffled: the gate must not let that pass."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np

from faultline.trainer import attempt
from training import line_material


def shuffling(windows: Any) -> Any:
    """What ``windows`` returns, with its labels in another order."""

    def shuffled(*arguments: Any) -> Any:
        given = windows(*arguments)
        return replace(given, labels=np.random.default_rng(1).permutation(given.labels))

    return shuffled


if __name__ == "__main__":
    line_material.training_windows = shuffling(line_material.training_windows)
    line_material.hard_windows = shuffling(line_material.hard_windows)
    sys.exit(attempt.main(sys.argv[1:]))
