"""What a baseline is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Windows = NDArray[np.float32]
Baseline = Callable[[Windows, Windows], NDArray[np.intp]]
