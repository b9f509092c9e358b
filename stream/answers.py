"""The engine's answers: numbers only, and on the topic ``window-classes`` where that is switched on."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.contract import HEADER_CONTENT_TYPE, MSGPACK, SourceRecord
from stream.decode import NS, LineWindows
from stream.publisher import Outgoing

ANSWER_BYTES = 500_000
"""Probabilities in one record of ``window-classes``: half of what a broker takes, whatever the spec."""

_encode = msgspec.msgpack.Encoder().encode


def numbers_only(probabilities: NDArray[np.float32], none_index: int) -> tuple[NDArray[np.float32], int]:
    """Answers without NaN and infinity: extreme but finite values can overflow in a network.

    Args:
        probabilities: float32 (n, classes).
        none_index: the class that a window without an answer is taken for.

    Returns:
        The same array, or one whose unsound rows say no fault for certain; and how many such rows there were.
    """
    wrong = np.logical_not(np.isfinite(probabilities).all(axis=1)).reshape(-1)
    count = int(wrong.sum())
    if count == 0:
        return probabilities, 0
    sound = np.where(wrong[:, None], np.float32(0), probabilities)
    sound[wrong, none_index] = 1
    return sound, count


def window_classes(
    entry: LineWindows,
    spec: SignalSpec,
    model_id: str,
    classes: NDArray[np.intp],
    probabilities: NDArray[np.float32],
    topic: str,
) -> list[Outgoing]:
    """The answer to one record, in parts where it is too large for one (``contract.WindowClasses``).

    Args:
        entry: the record's windows.
        spec: of the windows.
        model_id: who answered.
        classes: (n,), most probable class of every window.
        probabilities: float32 (n, classes).
        topic: where the answer goes.
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
