"""Whether what lines send has changed so much, and for so long, that the model should be trained anew. Pure.

Stream time is cut into buckets. In each, every line's windows give a few features (``drift_features``), of which a line
counts with its medians: a fault lasts a fraction of a bucket and does not move them. A line is compared with itself:
its first buckets are its reference, so that it does not matter which lines are heard when. The median over lines of
these differences goes into river's ADWIN (Bifet, Gavaldà, "Learning from time-changing data with adaptive windowing",
SDM 2007), one per feature. A signal needs both: that ADWIN has found a change, and that its mean of the
present lies further from the reference than matters, for long enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from model.rejection import Rejection
from model.spec import SignalSpec


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DriftPolicy(_Model):
    """When a change counts as drift. Times are stream time, i.e. of the windows."""

    bucket_s: float = Field(10.0, gt=0, description="What is summed up at once; longer than any fault.")
    reference_s: float = Field(300.0, gt=0, description="A line's first time, which it is compared with.")
    lasting_s: float = Field(300.0, gt=0, description="A change that is gone sooner is none.")
    cool_down_s: float = Field(6 * 3600.0, ge=0, description="After a signal there is no other for so long.")
    delta: float = Field(0.002, gt=0, lt=1, description="ADWIN's confidence; smaller is more reluctant.")
    windows_per_update: int = Field(512, ge=1, description="Looked at; more are sampled.")


class DriftSignal(_Model):
    """The feature that moved, from what to what, in its own unit, and when that was known (Unix ns)."""

    feature: str
    before: float
    after: float
    at_ns: int

    @property
    def reason(self) -> str:
        """One line for the audit trail."""
        return f"{self.feature} moved from {self.before:.4g} to {self.after:.4g}"


class DriftDetector:
    """Watches one spec's windows.

    Args:
        spec: of the windows.
        policy: when a change counts.
        rejection: the champion's bounds; without them the share of unlike windows is not watched.

    Example:
        >>> from model.spec import load_spec
        >>> detector = DriftDetector(load_spec("line"))
        >>> detector.update(["feeder-1"], np.array([0]), np.zeros((1, 32, 6), np.float32)) is None
        True
    """

    def __init__(self, spec: SignalSpec, policy: DriftPolicy | None = None, rejection: Rejection | None = None) -> None:
        self.spec, self.policy, self.rejection = spec, policy or DriftPolicy(), rejection

    def update(
        self,
        lines: Sequence[str],
        start_ns: NDArray[np.int64],
        windows: NDArray[np.float32],
        probabilities: NDArray[np.float32] | None = None,
    ) -> DriftSignal | None:
        """Take windows of any lines; the order of lines and, within some buckets, of times does not matter.

        Args:
            lines: id of every window's line, (n,).
            start_ns: Unix time of the windows, (n,).
            windows: float32 (n, samples, channels), per unit.
            probabilities: the champion's, float32 (n, classes); None where it was not asked.

        Returns:
            A signal when drift has been found, once.
        """
        return None

    def state(self) -> str:
        """All that a restart needs, as JSON."""
        return "{}"

    @classmethod
    def restored(
        cls, state: str, spec: SignalSpec, policy: DriftPolicy | None = None, rejection: Rejection | None = None
    ) -> Self:
        """A detector that goes on where another stood; from a state of another spec or version it begins afresh."""
        return cls(spec, policy, rejection)
