"""The engine's answers: only those that mean something; on the topic ``window-classes`` where switched on."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.contract import HEADER_CONTENT_TYPE, MSGPACK, SourceRecord
from stream.detection.decode import NS, LineWindows
from stream.kafka.publisher import Outgoing

ANSWER_BYTES = 500_000
"""Probabilities in one record of ``window-classes``: half of what a broker takes, whatever the spec."""

_encode = msgspec.msgpack.Encoder().encode


class Classifier(Protocol):
    """What the pipeline needs of ``model.engine.Engine``. Both methods are called off the event loop."""

    @property
    def model_id(self) -> str:
        """Id of the artefact."""

    def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (n, samples, channels) → probabilities float32 (n, classes)."""

    def is_ood(self, windows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which windows (n,) are unlike the model's training."""


class ClosableClassifier(Classifier, Protocol):
    """One that holds threads, until it is closed."""

    def close(self) -> None:
        """End the threads; nothing is classified after it."""


def classify_windows(
    classifier: Classifier, windows: NDArray[np.float32], none_index: int
) -> tuple[NDArray[np.float32], Counter[str]]:
    """Classify windows; those without an answer that means anything are taken for no fault, for certain.

    Args:
        classifier: the model in use.
        windows: float32 (n, samples, channels).
        none_index: the class of no fault.

    Returns:
        Probabilities float32 (n, classes), and how many windows were "unknown" (unlike training) or "unanswered"
        (extreme but finite values can overflow in a network), where any were.
    """
    probabilities = classifier.classify(windows)
    unknown = classifier.is_ood(windows)
    wrong = ~np.isfinite(probabilities).all(axis=1) & ~unknown
    counts = Counter({name: int(rows.sum()) for name, rows in (("unknown", unknown), ("unanswered", wrong))})
    silent = unknown | wrong
    if silent.any():
        probabilities = np.where(silent[:, None], np.float32(0), probabilities)
        probabilities[silent, none_index] = 1
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
    """The answer to one record, in parts where it is too large for one (``contract.WindowClasses``).

    Args:
        entry: the record's windows.
        spec: of the windows.
        model_id: who answered.
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
            "start_ns": entry.start_ns + round(first * spec.hop * NS / entry.rate_hz),
            "rate_hz": entry.rate_hz,
            "count": len(classes[span]),
            "classes": classes[span].astype(np.uint8).tobytes(),
            "probabilities": np.ascontiguousarray(probabilities[span], "<f4").tobytes(),
            "source": source,
        }
        answers.append(Outgoing(topic, record.key, _encode(body), [(HEADER_CONTENT_TYPE, MSGPACK.encode())]))
    return answers
