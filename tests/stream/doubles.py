"""Stand-ins for broker, network or engine in the stream's tests, named after their behaviour or failure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from aiokafka.structs import ConsumerRecord
from numpy.typing import NDArray

from faultline.testing import FakeClassifier, class_probabilities, class_windows
from model.spec import SignalSpec
from stream.detection.batch import track_batch
from stream.detection.decode import DecodedBatch, LineWindows
from stream.detection.episodes import EpisodeStep, EpisodeTracker
from stream.detection.line_state import LineState
from stream.detection.order import Positions
from stream.windowing import MSGPACK_HEADERS, encode_windows

START_NS = 1_700_000_000_000_000_000
RATE_HZ = 1600.0
WINDOWS_TOPIC = "sensor-windows"


def record(
    key: bytes | None,
    value: bytes | None,
    *,
    offset: int = 0,
    partition: int = 0,
    headers: Sequence[tuple[str, bytes | None]] = MSGPACK_HEADERS,
    timestamp: int = 1_700_000_000_000,
) -> Any:
    """Return a consumed record, of aiokafka's own class."""
    return ConsumerRecord(
        WINDOWS_TOPIC, partition, offset, timestamp, 0, key, value, None, len(key or b""), len(value or b""), headers
    )


def hop_ns(spec: SignalSpec) -> int:
    return round(spec.hop * 1e9 / RATE_HZ)


def marked_record(
    line: str,
    classes: Sequence[int],
    spec: SignalSpec,
    *,
    sequence: int = 0,
    offset: int = 0,
    partition: int = 0,
    headers: Sequence[tuple[str, bytes | None]] = MSGPACK_HEADERS,
) -> Any:
    """Return one record of windows of the given classes, timed by its sequence."""
    value = encode_windows(
        class_windows(classes, spec),
        spec,
        sequence=sequence,
        start_ns=START_NS + sequence * hop_ns(spec),
        rate_hz=RATE_HZ,
    )
    return record(line.encode(), value, offset=offset, partition=partition, headers=headers)


def line_windows(
    count: int, *, sequence: int = 0, start_ns: int | None = None, line: str = "feeder-1", spec: SignalSpec
) -> LineWindows:
    """Return the decoded form of one record."""
    start_ns = START_NS + sequence * hop_ns(spec) if start_ns is None else start_ns
    return LineWindows(record(line.encode(), b"x"), line, sequence, start_ns, RATE_HZ, 0, count, None)


@dataclass
class Tracked:
    """State of a line, and the steps and the numbers of windows of its last record."""

    state: LineState
    steps: list[EpisodeStep]
    in_order: int
    repeated: int
    late: int


def track(
    tracker: EpisodeTracker,
    state: LineState | None,
    entry: LineWindows,
    windows: NDArray[np.float32],
    probabilities: NDArray[np.float32],
) -> Tracked:
    """Put the windows of one record in order after the line's state, and track the new ones; the state is changed."""
    lines = {} if state is None else {entry.line: state}
    batch = DecodedBatch(windows, [replace(entry, first=0)], [])
    tracked = track_batch(tracker, lines, batch, probabilities, Positions(tracker.spec).order(batch, lines))
    counts = (tracked.outcomes[name] for name in ("judged", "repeated", "late"))
    return Tracked(lines.get(entry.line, LineState()), [step for _, step in tracked.steps], *counts)


class CountingClassifier(FakeClassifier):
    """A model with a memory of two values: the number of the line's windows, and a digest of them in their order.

    Its answers depend on both, so that a window that is lost, repeated or out of order changes every later answer.
    """

    def __init__(self, spec: SignalSpec, model_id: str = "model-a") -> None:
        super().__init__(spec, model_id)
        self.memory_units = 2

    def follow(
        self, windows: NDArray[np.float32], line: NDArray[np.intp], memory: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.calls.append(len(windows))
        memory, firsts = memory.copy(), windows[:, 0, 0]
        answers = np.empty((len(windows), len(self.spec.classes)), np.float32)
        for index, (row, value) in enumerate(zip(line.tolist(), firsts.tolist(), strict=True)):
            count, digest = memory[row].tolist()
            memory[row] = count + 1, (31 * digest + value + 7) % 65_521
            answers[index] = class_probabilities([int(value) % len(self.spec.classes)], self.spec)[0]
            # The memory shows in every answer without changing the most probable class.
            answers[index] *= 0.9 + 0.1 * memory[row, 1] / 65_521
        return answers, memory


class NumberlessClassifier(FakeClassifier):
    """An engine whose arithmetic overflows: every answer is NaN."""

    def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.full((len(windows), len(self.spec.classes)), np.nan, np.float32)


class RaisingClassifier(FakeClassifier):
    """An engine that raises, as when it is out of memory, has lost its GPU or has a bug."""

    def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        raise MemoryError("no room for the batch")


@dataclass
class Sent:
    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None
    headers: list[tuple[str, bytes]]
    answer: asyncio.Future[None] = field(repr=False)


class PromptBroker:
    """A producer whose broker acknowledges everything at once."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
    ) -> asyncio.Future[None]:
        sent = Sent(topic, key, value, partition, headers, asyncio.get_running_loop().create_future())
        self.sent.append(sent)
        self.answer(sent)
        return sent.answer

    def answer(self, sent: Sent) -> None:
        sent.answer.set_result(None)

    def confirmed(self) -> list[Sent]:
        return [sent for sent in self.sent if sent.answer.done() and sent.answer.exception() is None]

    def topics(self) -> list[str]:
        return [sent.topic for sent in self.sent]


class SilentBroker(PromptBroker):
    """A producer that accepts records and acknowledges none before ``confirm`` is called."""

    def answer(self, sent: Sent) -> None:
        """Return without an acknowledgement."""

    def confirm(self, topic: str | None = None) -> None:
        for sent in self.sent:
            if not sent.answer.done() and topic in (None, sent.topic):
                sent.answer.set_result(None)


class RefusingBroker(PromptBroker):
    """A producer that answers the first ``times`` records with an error, and acknowledges the later ones."""

    def __init__(self, times: int, error: type[KafkaError] = TopicAuthorizationFailedError) -> None:
        super().__init__()
        self.times = times
        self.error = error

    def answer(self, sent: Sent) -> None:
        if self.times > 0:
            self.times -= 1
            sent.answer.set_exception(self.error())
        else:
            sent.answer.set_result(None)


class FullBuffer(PromptBroker):
    """A producer that does not even accept the records whose value is in ``refuse``, until ``refuse`` is emptied."""

    def __init__(self, refuse: Iterable[bytes], error: KafkaError) -> None:
        super().__init__()
        self.refuse = set(refuse)
        self.error = error

    async def send(self, topic: str, key: bytes | None, value: bytes | None, *rest: Any) -> asyncio.Future[None]:
        if value in self.refuse:
            raise self.error
        return await super().send(topic, key, value, *rest)


async def until(condition: Any, within_s: float = 10.0) -> None:
    """Let the loop run until a condition holds; a condition that never holds fails the test instead of hanging it."""
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("what the test waits for did not happen")
        await asyncio.sleep(0.001)


async def settle() -> None:
    """Let all tasks run that can run without waiting."""
    for _ in range(50):
        await asyncio.sleep(0)
