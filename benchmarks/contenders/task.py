"""The job that all contenders but Faultline's own worker do by the same pieces: decode → engine → what is published."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders.settings import ContenderSettings
from model.artefact import Artefact, shipped
from model.engine import Engine
from model.errors import FaultlineError
from model.spec import SignalSpec
from stream.detection.classify import window_classes
from stream.detection.decode import DecodedBatch, IncomingRecord, decode_batch

MAX_MESSAGE_BYTES = 1_000_000

_encode = msgspec.json.Encoder().encode


class TaskError(FaultlineError):
    """The load holds a message that is no window message: the benchmark itself is wrong."""


@dataclass(slots=True)
class Record:
    """A consumed record for libraries whose own has other attributes than aiokafka's."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()


@dataclass(frozen=True, slots=True)
class Output:
    """What is to be published on ``ContenderSettings.output_topic``."""

    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes | None]] = ()


def open_artefact(settings: ContenderSettings) -> Artefact:
    """The model of the run, verified."""
    return shipped("line") if settings.artefact is None else Artefact.load(Path(settings.artefact))


class Task:
    """Answers batches of records.

    Example:
        >>> task = Task(settings)  # doctest: +SKIP
        >>> outputs = task.answer(records)  # doctest: +SKIP
    """

    def __init__(self, settings: ContenderSettings) -> None:
        # As `faultline worker` does: two lines of TensorFlow's that no log level hides.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
        self.settings = settings
        self._artefact = open_artefact(settings)
        self.spec: SignalSpec = self._artefact.manifest.spec
        self._engine: Engine | None = None

    def with_engine(self) -> Task:
        """Compile and warm our engine; contenders that predict by Keras do without."""
        self._engine = Engine(self._artefact, threads=self.settings.engine_threads).warm()
        return self

    def decode(self, records: Sequence[IncomingRecord]) -> DecodedBatch:
        """Records → windows float32 (n, samples, channels); any invalid one is the benchmark's mistake."""
        decoded = decode_batch(records, self.spec, max_bytes=MAX_MESSAGE_BYTES)
        if decoded.dead:
            raise TaskError(f"the load holds a wrong message: {decoded.dead[0].message}")
        return decoded

    def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities float32 (n, classes) by our engine; call it off an event loop."""
        assert self._engine is not None, "with_engine() comes first"
        return self._engine.classify(windows)

    def outputs(self, decoded: DecodedBatch, probabilities: NDArray[np.float32]) -> list[Output]:
        """What is published for a batch, in the order of its records."""
        classes = probabilities.argmax(axis=1)
        if self.settings.publish == "answers":
            return [output for entry in decoded.records for output in self._answers(entry, classes, probabilities)]
        faulty = 1.0 - probabilities[:, self.spec.none_index] >= self.settings.certainty
        if not faulty.any():
            return []
        firsts = [entry.first for entry in decoded.records]
        with_fault = np.flatnonzero(np.logical_or.reduceat(faulty, firsts))
        return [self._event(decoded.records[at], classes, probabilities) for at in with_fault]

    def answer(self, records: Sequence[IncomingRecord]) -> list[Output]:
        """``decode``, ``classify`` and ``outputs`` in one."""
        decoded = self.decode(records)
        return self.outputs(decoded, self.classify(decoded.windows)) if decoded.records else []

    def _answers(self, entry: Any, classes: NDArray[np.intp], probabilities: NDArray[np.float32]) -> list[Output]:
        span = slice(entry.first, entry.first + entry.count)
        topic = self.settings.output_topic
        records = window_classes(entry, self.spec, self._artefact.model_id, classes[span], probabilities[span], topic)
        return [Output(record.key, record.value or b"", record.headers) for record in records]

    def _event(self, entry: Any, classes: NDArray[np.intp], probabilities: NDArray[np.float32]) -> Output:
        span = slice(entry.first, entry.first + entry.count)
        worst = entry.first + int(probabilities[span, self.spec.none_index].argmin())
        body = {
            "line": entry.line,
            "fault_class": self.spec.class_names[int(classes[worst])],
            "confidence": float(probabilities[worst].max()),
            "sequence": entry.sequence + worst - entry.first,
            "source": {"partition": entry.record.partition, "offset": entry.record.offset},
        }
        return Output(entry.record.key, _encode(body))
