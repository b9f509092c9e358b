"""Detect changes of the input that are large and lasting enough to retrain the model. Pure.

Stream time is divided into buckets. In each bucket the detector computes a few features of every window
(``drift_features``) and takes their medians per line; a fault lasts a fraction of a bucket and does not move a median.
A line is compared with itself: its first buckets are its reference, so that it does not matter which lines send at
what time. The median of these differences over all lines is the input of river's ADWIN (Bifet, Gavaldà, "Learning from
time-changing data with adaptive windowing", SDM 2007), one per feature. A drift is signalled if ADWIN has detected a
change and the difference has exceeded the feature's threshold (``matters``) for long enough.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
import structlog
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from river.drift import ADWIN

from model.frozen import FiniteModel
from model.rejection import Rejection
from model.spec import SignalSpec
from stream.contract import NS_PER_S
from training.sidecar.drift.features import by_line, drift_features, watched_features

log = structlog.get_logger(__name__)

MAX_LINES = 100_000
MAX_VALUES = 720  # values kept to rebuild ADWIN: two hours of buckets; ADWIN's own window is far shorter
CLIP = 2.0  # largest multiple of ``matters``: ADWIN needs a bounded range, and a single outlier bucket is not a change
FAR_NS = 3600 * NS_PER_S  # times further from the current bucket come from a wrong clock, unless they keep arriving
MAX_DISTANT = 20  # number of consecutive updates with such times after which these become the current time
LASTING_SHARE = 0.8  # share of the buckets in ``lasting_s`` in which a change must exceed ``matters``

Array = NDArray[np.float64]


class DriftPolicy(FiniteModel):
    """Conditions under which a change counts as drift; all times are stream time, that is, times of the windows."""

    bucket_s: float = Field(10.0, gt=0, description="Length of a bucket, seconds; longer than any fault.")
    reference_s: float = Field(
        300.0, gt=0, description="Length of a line's reference, seconds: its first windows, to which it is compared."
    )
    lasting_s: float = Field(300.0, gt=0, description="Shortest duration of a drift, seconds.")
    cool_down_s: float = Field(6 * 3600.0, ge=0, description="Pause after a signal, seconds, without another signal.")
    delta: float = Field(0.002, gt=0, lt=1, description="ADWIN's confidence; smaller values detect fewer changes.")
    windows_per_update: int = Field(512, ge=1, description="Largest number of windows used; of more, a sample is used.")


class DriftSignal(FiniteModel):
    """Drift of one feature: its name, its values before and after in its own unit, and the detection time (Unix ns)."""

    feature: str
    before: float
    after: float
    at_ns: int

    @property
    def reason(self) -> str:
        """Return a description for the audit trail."""
        return f"{self.feature} moved from {self.before:.4g} to {self.after:.4g}"


class LineReference(FiniteModel):
    """Reference of a line: the features of its first buckets and, once there are enough buckets, their medians."""

    first: tuple[tuple[float | None, ...], ...] = ()
    reference: tuple[float | None, ...] | None = None


class DriftState(FiniteModel):
    """State of a detector for a restart; ``values`` are the input of ADWIN per feature, from which it is rebuilt."""

    version: Literal[1] = 1
    spec: str
    features: tuple[str, ...]
    bucket_s: float
    lines: dict[str, LineReference]
    values: tuple[tuple[float, ...], ...]
    found: tuple[bool, ...]
    bucket: int | None
    signalled_ns: int | None


class DriftDetector:
    """Drift detector for the windows of one spec.

    Args:
        spec: spec of the windows.
        policy: conditions under which a change counts as drift.
        rejection: bounds of the champion; None leaves out the feature "share of out-of-distribution windows".

    Example:
        >>> from model.spec import load_spec
        >>> detector = DriftDetector(load_spec("line"))
        >>> detector.update(["feeder-1"], np.array([0]), np.zeros((1, 32, 6), np.float32)) is None
        True
    """

    def __init__(self, spec: SignalSpec, policy: DriftPolicy | None = None, rejection: Rejection | None = None) -> None:
        self.spec, self.policy, self.rejection = spec, policy or DriftPolicy(), rejection
        self._watched = watched_features(spec)
        self._codes: dict[str, int] = {}
        self._first_buckets: dict[int, list[Array]] = {}
        self._references: dict[int, Array] = {}
        self._bucket: int | None = None
        self._parts: list[tuple[NDArray[np.int64], Array]] = []
        self._distant = 0
        self._signalled_ns: int | None = None
        self._adwins: list[ADWIN] = []
        self._values: list[deque[float]] = []
        self._reset()

    def update(
        self,
        lines: Sequence[str],
        start_ns: NDArray[np.int64],
        windows: NDArray[np.float32],
        probabilities: NDArray[np.float32] | None = None,
    ) -> DriftSignal | None:
        """Add windows of any lines; the order of lines and, within a few buckets, of times does not matter.

        Args:
            lines: id of the line of every window, (n,).
            start_ns: Unix time of the windows, (n,).
            windows: float32 (n, samples, channels), per unit.
            probabilities: probabilities of the champion, float32 (n, classes); None without a champion.

        Returns:
            A signal if this call has detected a drift; None otherwise.
        """
        n, most = len(lines), self.policy.windows_per_update
        if n == 0:
            return None
        chosen = np.arange(n) if n <= most else np.linspace(0, n - 1, most).astype(np.int64)
        times = np.asarray(start_ns, np.int64)[chosen]
        codes = np.array([self._code(lines[k]) for k in chosen], np.int64)
        own = (codes >= 0) & self._near_present(times)
        if not own.any():
            return None
        chosen, codes, buckets = chosen[own], codes[own], times[own] // round(self.policy.bucket_s * NS_PER_S)
        sampled = None if probabilities is None else probabilities[chosen]
        features = drift_features(windows[chosen], sampled, self.spec, self.rejection)
        signal = None
        for bucket in np.unique(buckets):
            # Slightly late windows are added to the current bucket.
            if self._bucket is None or bucket > self._bucket or (self._bucket - bucket) * self._bucket_ns > FAR_NS:
                signal = self._close_bucket() or signal
                self._bucket = int(bucket)
            inside = buckets == bucket
            self._parts.append((codes[inside], features[inside]))
        return signal

    def state(self) -> str:
        """Return the state for a restart as JSON, without the windows of the current bucket."""
        names = {code: name for name, code in self._codes.items()}
        lines = {
            name: LineReference(
                first=tuple(_json_row(row) for row in self._first_buckets.get(code, [])),
                reference=_json_row(self._references[code]) if code in self._references else None,
            )
            for code, name in names.items()
        }
        return DriftState(
            spec=self.spec.name,
            features=tuple(feature.name for feature in self._watched),
            lines=lines,
            values=tuple(tuple(values) for values in self._values),
            found=tuple(self._found),
            bucket=self._bucket,
            bucket_s=self.policy.bucket_s,
            signalled_ns=self._signalled_ns,
        ).model_dump_json()

    @classmethod
    def from_state(
        cls, state: str, spec: SignalSpec, policy: DriftPolicy | None = None, rejection: Rejection | None = None
    ) -> Self:
        """Return a detector that resumes from ``state``; if the state does not fit, log a warning and ignore it."""
        detector = cls(spec, policy, rejection)
        try:
            saved = DriftState.model_validate_json(state)
        except ValidationError as error:
            log.warning("drift-state-invalid", reason=error.errors()[0]["msg"])
            return detector
        names = tuple(feature.name for feature in detector._watched)
        if (saved.spec, saved.features, saved.bucket_s) != (spec.name, names, detector.policy.bucket_s):
            log.warning("drift-state-mismatch", spec=saved.spec)
            return detector
        for name, line in saved.lines.items():
            code = detector._code(name)
            if line.reference is not None:
                detector._references[code] = np.array(line.reference, float)
            elif line.first:
                detector._first_buckets[code] = [np.array(row, float) for row in line.first]
        for number, values in enumerate(saved.values):
            for value in values:
                detector._adwins[number].update(_bounded(value))
            detector._values[number].extend(values)
        detector._found = list(saved.found)
        detector._bucket, detector._signalled_ns = saved.bucket, saved.signalled_ns
        return detector

    def with_new_reference(self, rejection: Rejection | None = None) -> Self:
        """Return a detector that takes new references from now on and keeps the pause after a signal."""
        detector = type(self)(self.spec, self.policy, rejection)
        detector._bucket, detector._signalled_ns = self._bucket, self._signalled_ns
        return detector

    @property
    def _bucket_ns(self) -> int:
        return round(self.policy.bucket_s * NS_PER_S)

    def _reset(self) -> None:
        """Drop the references, so that lines are compared with their windows from now on."""
        self._first_buckets, self._references = {}, {}
        self._adwins = [ADWIN(delta=self.policy.delta, clock=1) for _ in self._watched]
        self._values = [deque(maxlen=MAX_VALUES) for _ in self._watched]
        self._found = [False] * len(self._watched)

    def _code(self, line: str) -> int:
        """Return the number of a line; −1 for lines beyond ``MAX_LINES``."""
        code = self._codes.get(line)
        if code is None:
            if len(self._codes) >= MAX_LINES:
                return -1
            code = self._codes[line] = len(self._codes)
        return code

    def _near_present(self, times: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return a mask of times near the current bucket; one wrong clock must not move stream time for all lines."""
        if self._bucket is None or self._distant >= MAX_DISTANT:
            self._distant = 0
            return np.asarray(np.abs(times - int(np.median(times))) <= FAR_NS)
        near = np.abs(times - self._bucket * self._bucket_ns) <= FAR_NS
        self._distant = 0 if near.any() else self._distant + 1
        return np.asarray(near)

    def _close_bucket(self) -> DriftSignal | None:
        """Compute the features of the current bucket and check for drift."""
        parts, self._parts = self._parts, []
        if not parts:
            return None
        lines, measured = np.concatenate([c for c, _ in parts]), np.concatenate([f for _, f in parts])
        codes, features = by_line(lines, measured, self._watched)
        moved = [
            row - self._references[c] for c, row in zip(codes.tolist(), features, strict=True) if c in self._references
        ]
        self._update_references(codes, features)
        if not moved:
            return None
        differences = np.stack(moved)
        for number, feature in enumerate(self._watched):
            known = differences[np.isfinite(differences[:, number]), number]
            if len(known):
                self._add_difference(number, float(np.median(known)) / feature.matters)
        return self._find_drift()

    def _update_references(self, codes: NDArray[np.int64], features: Array) -> None:
        needed = max(1, round(self.policy.reference_s / self.policy.bucket_s))
        for code, row in zip(codes.tolist(), features, strict=True):
            if code in self._references:
                known = self._references[code]
                self._references[code] = np.where(np.isfinite(known), known, row)
                continue
            rows = self._first_buckets.setdefault(code, [])
            rows.append(row)
            if len(rows) >= needed:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", RuntimeWarning)  # a feature without any value stays NaN
                    self._references[code] = np.nanmedian(np.stack(rows), axis=0)
                del self._first_buckets[code]

    def _add_difference(self, number: int, moved: float) -> None:
        """Add the difference of a feature, in multiples of its ``matters``, to ADWIN."""
        self._values[number].append(moved)
        adwin = self._adwins[number]
        adwin.update(_bounded(moved))
        self._found[number] |= adwin.drift_detected

    def _find_drift(self) -> DriftSignal | None:
        """Return a signal for a feature that has changed and still exceeds its ``matters``; None if there is none."""
        now_ns = (self._bucket or 0) * self._bucket_ns
        if self._signalled_ns is not None and abs(now_ns - self._signalled_ns) < self.policy.cool_down_s * NS_PER_S:
            return None
        lasting = max(1, round(self.policy.lasting_s / self.policy.bucket_s))
        for number, feature in enumerate(self._watched):
            moved = np.array(list(self._values[number])[-lasting:])
            if not self._found[number] or len(moved) < lasting:
                continue
            if max((moved >= 1).mean(), (moved <= -1).mean()) < LASTING_SHARE:
                continue
            before = float(np.nanmedian([row[number] for row in self._references.values()]))
            after = before + float(np.median(moved)) * feature.matters
            self._signalled_ns = now_ns
            self._reset()
            return DriftSignal(
                feature=feature.name, before=feature.plain(before), after=feature.plain(after), at_ns=now_ns
            )
        return None


def _bounded(moved: float) -> float:
    """Return a difference scaled to ADWIN's range, 0 to 1."""
    return float(np.clip(moved, -CLIP, CLIP)) / (2 * CLIP) + 0.5


def _json_row(row: Array) -> tuple[float | None, ...]:
    """Return numbers for JSON, with None for NaN, which JSON does not have."""
    return tuple(round(float(v), 6) if np.isfinite(v) else None for v in row)
