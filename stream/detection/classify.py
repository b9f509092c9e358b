"""Windows → probabilities, with those rejected that mean nothing; probabilities → records of ``window-classes``."""

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
"""Probabilities in one record of ``window-classes``: half of what a broker takes, whatever the spec."""

Classify = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Probabilities float32 (n, classes) of windows float32 (n, samples, channels)."""

_encode = msgspec.msgpack.Encoder().encode


class Classifier(Protocol):
    """The part of ``model.engine.Engine`` that detection needs. Both methods are called off the event loop."""

    @property
    def model_id(self) -> str:
        """Id of the artefact."""

    def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities float32 (n, classes) of windows float32 (n, samples, channels)."""

    def is_ood(self, windows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which windows (n,) are out of the distribution of the model's training."""


class ClosableClassifier(Classifier, Protocol):
    """A classifier that holds threads until it is closed."""

    def close(self) -> None:
        """End the threads; nothing is classified after it."""


def classify_windows(
    classifier: Classifier, windows: NDArray[np.float32], none_index: int
) -> tuple[NDArray[np.float32], Counter[str]]:
    """Classify windows; those without an answer that means anything count as no fault, for certain.

    Args:
        classifier: the model in use.
        windows: float32 (n, samples, channels).
        none_index: the class of no fault.

    Returns:
        Probabilities float32 (n, classes), and how many windows were "unknown" (unlike training) or "unanswered"
        (extreme but finite values can overflow in a network), where any were.
    """
    return reject(classifier.classify(windows), classifier.is_ood(windows), none_index)


def with_rejection(classify: Classify, rejection: Rejection | None, spec: SignalSpec) -> Classify:
    """Return a function that classifies windows as ``classify_windows`` does, for a network without an engine.

    Args:
        classify: probabilities float32 (n, classes) of windows float32 (n, samples, channels).
        rejection: bounds of the windows like training; None rejects nothing.
        spec: of the windows.
    """

    def answer(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        is_ood = np.zeros(len(windows), bool) if rejection is None else rejection.is_ood(windows)
        return reject(classify(windows), is_ood, spec.none_index)[0]

    return answer


def reject(
    probabilities: NDArray[np.float32], is_ood: NDArray[np.bool_], none_index: int
) -> tuple[NDArray[np.float32], Counter[str]]:
    """Return probabilities with the rows that mean nothing replaced by no fault; see ``classify_windows``.

    Args:
        probabilities: float32 (n, classes), as a model gives them.
        is_ood: (n,), windows unlike training.
        none_index: the class of no fault.
    """
    not_finite = ~np.isfinite(probabilities).all(axis=1) & ~is_ood
    counts = Counter({name: int(rows.sum()) for name, rows in (("unknown", is_ood), ("unanswered", not_finite))})
    rejected = is_ood | not_finite
    if rejected.any():
        probabilities = np.where(rejected[:, None], np.float32(0), probabilities)
        probabilities[rejected, none_index] = 1
    return probabilities, +counts


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
    """Return the answer to one record, in parts where it is too large for one (``contract.WindowClasses``).

    Args:
        entry: the record's windows.
        spec: of the windows.
        model_id: of the model that answered.
        classes: (n,), most probable class of every window.
        probabilities: float32 (n, classes).
        topic: where the answer goes.
        shadow: whether it is the answer of a candidate that runs beside the model in use.
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
