"""Classify windows, reject unusable answers, and build the records of ``window-classes``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.rejection import Rejection
from model.spec import SignalSpec
from stream.contract import HEADER_CONTENT_TYPE, MSGPACK, NS_PER_S, Outgoing, SourceRecord
from stream.detection.decode import LineWindows

ANSWER_BYTES = 500_000
"""Largest size of the probabilities in one ``window-classes`` record: half of what a broker accepts, for any spec."""

Classify = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Function from windows float32 (lines, steps, samples, channels) to probabilities float32 (lines, steps, classes).

Each line begins cold. Single windows are lines of one step."""

_encode = msgspec.msgpack.Encoder().encode


class Classifier(Protocol):
    """Part of ``model.engine.Engine`` that detection needs. The methods may be called on another thread."""

    @property
    def model_id(self) -> str:
        """Return the id of the artefact."""

    @property
    def memory_units(self) -> int:
        """Return the number of values of a line's memory; 0 for a model without a memory."""

    def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities float32 (n, classes) for windows float32 (n, samples, channels).

        Every window is a line of its own that begins cold.
        """

    def follow(
        self, windows: NDArray[np.float32], line: NDArray[np.intp], memory: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return probabilities float32 (n, classes), and the memories after the windows, float32 (lines, units).

        Args:
            windows: float32 (n, samples, channels); the windows of a line are in order.
            line: (n,), row of ``memory`` of each window's line.
            memory: float32 (lines, units) before the windows; zeros are cold.
        """

    def is_ood(self, windows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return a mask (n,) of the windows that are out of distribution."""


class ClosableClassifier(Classifier, Protocol):
    """Classifier that holds threads until it is closed."""

    def close(self) -> None:
        """End the threads; the classifier cannot be used afterwards."""


def classify_windows(
    classifier: Classifier, windows: NDArray[np.float32], none_index: int
) -> tuple[NDArray[np.float32], Counter[str]]:
    """Classify windows; those without a usable answer get the no-fault class with probability 1.

    Args:
        classifier: model in use.
        windows: float32 (n, samples, channels).
        none_index: index of the no-fault class.

    Returns:
        Probabilities float32 (n, classes), and the numbers of windows that were "unknown" (out of distribution) or
        "unanswered" (not finite: extreme but finite values can overflow in a network), if any.
    """
    return reject(classifier.classify(windows), classifier.is_ood(windows), none_index)


def with_rejection(classify: Classify, rejection: Rejection | None, spec: SignalSpec) -> Classify:
    """Wrap a function that classifies whole lines, so that unusable answers become no fault as in a worker.

    Args:
        classify: function that returns probabilities float32 (lines, steps, classes) for windows float32 (lines, steps,
            samples, channels).
        rejection: bounds of the training distribution; None rejects no window.
        spec: signal spec of the windows.
    """

    def answer(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        shape = windows.shape[:2]
        flat = windows.reshape(shape[0] * shape[1], *windows.shape[2:])
        is_ood = np.zeros(len(flat), bool) if rejection is None else rejection.is_ood(flat)
        answers = classify(windows).reshape(len(flat), len(spec.classes))
        return reject(answers, is_ood, spec.none_index)[0].reshape(*shape, len(spec.classes))

    return answer


def reject(
    probabilities: NDArray[np.float32], is_ood: NDArray[np.bool_], none_index: int
) -> tuple[NDArray[np.float32], Counter[str]]:
    """Return probabilities with the unusable rows replaced by no fault; see ``classify_windows``.

    Args:
        probabilities: float32 (n, classes), as returned by a model.
        is_ood: (n,), True for windows out of distribution.
        none_index: index of the no-fault class.
    """
    not_finite = ~np.isfinite(probabilities).all(axis=1) & ~is_ood
    counts = Counter({name: int(rows.sum()) for name, rows in (("unknown", is_ood), ("unanswered", not_finite))})
    rejected = is_ood | not_finite
    if rejected.any():
        probabilities = np.where(rejected[:, None], np.float32(0), probabilities)
        probabilities[rejected, none_index] = 1
    return probabilities, +counts


def is_rejected(probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return a mask (n,) of the rows that ``reject`` replaced; a network gives every class some probability.

    Args:
        probabilities: float32 (n, classes), after rejection.
    """
    return np.asarray(np.count_nonzero(probabilities, axis=1) <= 1)


def window_classes(
    entry: LineWindows,
    spec: SignalSpec,
    model_id: str,
    classes: NDArray[np.intp],
    probabilities: NDArray[np.float32],
    topic: str,
    *,
    shadow: bool = False,
) -> list[Outgoing]:
    """Return the classes of one record as ``contract.WindowClasses``, in several parts if they are too large for one.

    Args:
        entry: windows of the record.
        spec: signal spec of the windows.
        model_id: id of the model that classified them.
        classes: (n,), most probable class of every window.
        probabilities: float32 (n, classes).
        topic: topic to publish on.
        shadow: True for the classes of a shadow candidate.
    """
    record = entry.record
    source = SourceRecord(topic=record.topic, partition=record.partition, offset=record.offset).model_dump()
    part = ANSWER_BYTES // (4 * len(spec.classes))
    answers = []
    for first in range(0, entry.count, part):
        span = slice(first, first + part)
        body = {
            "spec": spec.name,
            "model_id": model_id,
            "shadow": shadow,
            "sequence": entry.sequence + first,
            "start_ns": entry.start_ns + round(first * spec.hop * NS_PER_S / entry.rate_hz),
            "rate_hz": entry.rate_hz,
            "count": len(classes[span]),
            "classes": classes[span].astype(np.uint8).tobytes(),
            "probabilities": np.ascontiguousarray(probabilities[span], "<f4").tobytes(),
            "source": source,
        }
        answers.append(Outgoing(topic, record.key, _encode(body), [(HEADER_CONTENT_TYPE, MSGPACK.encode())]))
    return answers
