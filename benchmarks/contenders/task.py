"""The job of all contenders except Faultline's own worker, in shared functions: decode, classify, build outputs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

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
    """The job failed: an input was invalid, which is an error of the benchmark, or an output was not delivered."""


@dataclass(slots=True)
class Record:
    """A consumed record, for libraries whose records have other attributes than aiokafka's."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()


@dataclass(frozen=True, slots=True)
class Output:
    """A record to be published to ``ContenderSettings.output_topic``."""

    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes | None]] = ()


def open_artefact(settings: ContenderSettings) -> Artefact:
    """Load and verify the model of the run."""
    return shipped("line") if settings.artefact is None else Artefact.load(Path(settings.artefact))


class Model(Protocol):
    """Part of ``model.engine.Engine`` that the job needs."""

    @property
    def memory_units(self) -> int:
        """Return the number of values of a line's memory; 0 for a model without a memory."""

    def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities float32 (n, classes) for windows float32 (n, samples, channels)."""

    def follow(
        self, windows: NDArray[np.float32], line: NDArray[np.intp], memory: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return probabilities float32 (n, classes), and the memories after the windows, float32 (lines, units)."""


class Task:
    """The job on batches of records.

    Example:
        >>> task = Task(settings)  # doctest: +SKIP
        >>> outputs = task.answer(records)  # doctest: +SKIP
    """

    def __init__(self, settings: ContenderSettings) -> None:
        """Load the model; ``with_engine`` or ``with_keras`` makes it ready."""
        # Like `faultline worker`: this avoids two lines of TensorFlow that no log level hides.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
        self.settings = settings
        self._artefact = open_artefact(settings)
        self.spec: SignalSpec = self._artefact.manifest.spec
        self._model: Model | None = None
        self._memories: dict[str, NDArray[np.float32]] = {}
        """Memory of every line after its last window, (units,)."""

    def with_engine(self) -> Task:
        """Compile and warm our engine."""
        self._model = Engine(self._artefact, threads=self.settings.engine_threads).warm()
        return self

    def with_keras(self) -> Task:
        """Build the Keras model, for ``predict``."""
        from benchmarks.contenders.keras_predict import KerasPredict

        self._model = KerasPredict(self._artefact, self.settings)
        return self

    def decode(self, records: Sequence[IncomingRecord]) -> DecodedBatch:
        """Decode records to windows float32 (n, samples, channels).

        Raises:
            TaskError: a record is invalid, which is an error of the benchmark.
        """
        decoded = decode_batch(records, self.spec, max_bytes=MAX_MESSAGE_BYTES)
        if decoded.dead:
            raise TaskError(f"the load holds an invalid message: {decoded.dead[0].message}")
        return decoded

    def classify(self, decoded: DecodedBatch) -> NDArray[np.float32]:
        """Return the probabilities float32 (n, classes) by the model; do not call it on an event loop.

        A model with a memory follows every line through successive batches. The load has neither gaps nor repeated
        windows, so none are looked for.
        """
        model = self._model
        assert model is not None, "call with_engine() or with_keras() first"
        if not model.memory_units:
            return model.classify(decoded.windows)
        lines: dict[str, int] = {}
        rows = [lines.setdefault(entry.line, len(lines)) for entry in decoded.records]
        cold = np.zeros(model.memory_units, np.float32)
        before = np.stack([self._memories.get(line, cold) for line in lines])
        of_window = np.repeat(np.asarray(rows, np.intp), [entry.count for entry in decoded.records])
        probabilities, after = model.follow(decoded.windows, of_window, before)
        self._memories.update(zip(lines, after, strict=True))
        return probabilities

    def outputs(self, decoded: DecodedBatch, probabilities: NDArray[np.float32]) -> list[Output]:
        """Return the outputs for a batch, in the order of its records."""
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
        """Decode and classify records, and return their outputs."""
        decoded = self.decode(records)
        return self.outputs(decoded, self.classify(decoded)) if decoded.records else []

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
