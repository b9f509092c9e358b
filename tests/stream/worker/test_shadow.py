"""The live shadow is compared, marked and bounded, and has no effect on the champion."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from faultline.testing import FakeClassifier, class_probabilities
from stream.contract import Outgoing
from stream.detection.decode import decode_batch
from stream.detection.following import Following
from stream.detection.order import Positions
from stream.worker.metrics import WorkerMetrics
from stream.worker.micro_batch import ClassifiedPart
from stream.worker.offsets import FetchedBatch
from stream.worker.shadow import Shadow
from stream.worker.state_store import PartitionStates
from tests.stream.doubles import CountingClassifier, NumberlessClassifier, RaisingClassifier, marked_record, until
from tests.stream.model_samples import SPEC
from tests.stream.worker.test_pipeline import ONE, ONSET, ZERO, Rig, rig

AG, BG = SPEC.class_index("AG"), SPEC.class_index("BG")


class Candidate(FakeClassifier):
    """Predict BG for every AG; wait for ``go`` before answering."""

    def __init__(self, model_id: str = "candidate", go: threading.Event | None = None) -> None:
        super().__init__(SPEC, model_id)
        self.go = go
        self.closed = False

    def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        assert not self.closed
        if self.go is not None:
            self.go.wait(10)
        classes = windows[:, 0, 0].astype(int)
        return class_probabilities(np.where(classes == AG, BG, classes).tolist(), SPEC)

    def close(self) -> None:
        self.closed = True


class Beside:
    """A pipeline with a shadow whose classes go to a list."""

    def __init__(self, *, refuse: bool = False, topic: str | None = "window-classes") -> None:
        self.metrics = WorkerMetrics()
        self.published: list[Outgoing] = []
        self.refuse = refuse
        self.shadow = Shadow(SPEC, self.metrics, topic=topic, publish=self._publish)
        self.positions = Positions(SPEC)
        self.champion = Following(CountingClassifier(SPEC), SPEC.none_index, len(SPEC.classes))
        self.rig: Rig

    async def _publish(self, records: Sequence[Outgoing]) -> None:
        if self.refuse:
            raise ConnectionError("no broker for the candidate")
        self.published += records

    def counted(self) -> dict[str, float]:
        read = self.metrics.registry.get_sample_value
        outcomes = ("same", "different", "skipped", "failed")
        found = {name: read("faultline_shadow_windows_total", {"outcome": name}) for name in outcomes}
        return {name: count for name, count in found.items() if count}

    async def offer(self, *records: Any, behind: bool = False) -> None:
        """Offer a micro-batch of one partition as the pipeline does, and wait for the answer."""
        batch = decode_batch(records, SPEC, max_bytes=1 << 20)
        ordered = self.positions.order(batch, {})
        followed = self.champion.follow(batch, ordered)
        (probabilities,), (memories,) = followed.probabilities, followed.memories
        fetched, states = FetchedBatch(ZERO, list(records)), PartitionStates("faultline", spec=SPEC)
        part = ClassifiedPart(fetched, batch, states, ordered, probabilities, memories)
        self.shadow.offer([part], behind=behind)
        await until(lambda: self.shadow._busy is None or self.shadow._busy.done())

    def answers(self) -> list[dict[str, Any]]:
        return [msgspec.msgpack.decode(record.value or b"") for record in self.published]


@asynccontextmanager
async def beside(candidate: Any, *, engine: Any = None, **options: Any) -> AsyncIterator[Beside]:
    made = Beside(**options)
    made.shadow.use(candidate)
    async with rig(engine=engine, window_classes=True) as made.rig:
        made.rig.pipeline._shadow = made.shadow
        try:
            yield made
        finally:
            await made.shadow.close()


async def test_its_classes_are_marked_and_differences_are_counted() -> None:
    async with beside(Candidate()) as found:
        await found.rig.submit(marked_record("l", [AG, AG, AG, SPEC.none_index], SPEC), marked_record("m", [BG], SPEC))
        await found.rig.pipeline.drain()
        await until(lambda: len(found.counted()) == 2)
        assert found.counted() == {"same": 2, "different": 3}
        first, second = found.answers()
        assert (first["shadow"], first["model_id"]) == (True, "candidate")
        assert list(first["classes"]) == [BG, BG, BG, SPEC.none_index]
        assert list(second["classes"]) == [BG]
        own = [
            msgspec.msgpack.decode(sent.value or b"")
            for sent in found.rig.broker.sent
            if sent.topic == "window-classes"
        ]
        assert [(answer["shadow"], answer["model_id"]) for answer in own] == [(False, "model-a")] * 2
        assert list(own[0]["classes"]) == [AG, AG, AG, SPEC.none_index]


async def test_it_publishes_no_faults() -> None:
    async with beside(Candidate(), engine=FakeClassifier(SPEC, "champion")) as found:
        await found.rig.submit(marked_record("l", ONSET, SPEC))
        await found.rig.pipeline.drain()
        await until(found.counted)
        assert {record.topic for record in found.published} == {"window-classes"}
        assert [(event["model_id"], event["fault_class"]) for event in found.rig.events()] == [("champion", "AG")]


async def test_several_fetched_batches_of_one_micro_batch_keep_their_windows() -> None:
    async with beside(Candidate()) as found:
        batch = [
            found.rig.fetched(marked_record("l", [AG, BG], SPEC), marked_record("m", [AG], SPEC, offset=1)),
            found.rig.fetched(marked_record("n", [BG, BG, AG], SPEC), partition=ONE),
        ]
        for fetched in batch:
            await found.rig.pipeline.submit(fetched)
        await found.rig.pipeline.drain()
        await until(lambda: sum(found.counted().values()) == 6)
        # If the two batches were two micro-batches, the second may have been skipped.
        classes = [list(answer["classes"]) for answer in found.answers()]
        assert classes[:2] == [[BG, BG], [BG]]
        assert classes[2:] in ([], [[BG, BG, BG]])


@pytest.mark.parametrize("kind", [RaisingClassifier, NumberlessClassifier])
async def test_its_failure_costs_the_champion_nothing(kind: type[FakeClassifier]) -> None:
    class Failing(kind):  # type: ignore[misc,valid-type]
        def close(self) -> None: ...

    async with beside(Failing(SPEC, "candidate")) as found:
        for offset in range(3):
            await found.rig.submit(marked_record("l", ONSET, SPEC, sequence=3 * offset, offset=offset))
            await found.rig.pipeline.drain()
            await until(lambda: found.shadow._busy is not None and found.shadow._busy.done())
        assert not found.rig.pipeline.failure.done()
        assert len(found.rig.acknowledged) == 3
        # Answers that are not finite count as no fault, as the champion's would.
        assert found.counted() == ({"failed": 9} if kind is RaisingClassifier else {"different": 9})


async def test_a_topic_that_cannot_be_written_costs_the_champion_nothing() -> None:
    async with beside(Candidate(), refuse=True) as found:
        await found.rig.submit(marked_record("l", ONSET, SPEC))
        await found.rig.pipeline.drain()
        await until(found.counted)
        assert found.counted() == {"failed": 3}
        assert len(found.rig.acknowledged) == 1


async def test_a_slow_candidate_is_not_waited_for_and_what_it_misses_is_counted() -> None:
    go = threading.Event()
    async with beside(Candidate(go=go)) as found:
        for offset in range(4):
            await found.rig.submit(marked_record("l", ONSET, SPEC, sequence=3 * offset, offset=offset))
            await found.rig.pipeline.drain()
        assert len(found.rig.acknowledged) == 4
        assert found.counted() == {"skipped": 9}
        go.set()
        await until(lambda: found.counted() == {"skipped": 9, "different": 3})


async def test_it_is_skipped_while_windows_wait() -> None:
    async with beside(Candidate()) as found:
        await found.offer(marked_record("l", ONSET, SPEC), behind=True)
        assert found.counted() == {"skipped": 3}


async def test_without_a_topic_it_is_only_counted() -> None:
    async with beside(Candidate(), topic=None) as found:
        await found.rig.submit(marked_record("l", ONSET, SPEC))
        await found.rig.pipeline.drain()
        await until(found.counted)
        assert found.counted() == {"different": 3}
        assert found.published == []


async def test_another_candidate_takes_over_and_the_former_is_closed_after_its_answer() -> None:
    go = threading.Event()
    former = Candidate("former", go)
    async with beside(former) as found:
        await found.rig.submit(marked_record("l", ONSET, SPEC))
        await found.rig.pipeline.drain()
        await asyncio.sleep(0)
        found.shadow.use(Candidate("latter"))
        assert not former.closed
        go.set()
        await until(lambda: former.closed)
        await found.rig.submit(marked_record("l", ONSET, SPEC, sequence=3, offset=1))
        await found.rig.pipeline.drain()
        await until(lambda: len(found.answers()) == 2)
        assert [answer["model_id"] for answer in found.answers()] == ["former", "latter"]


# Memory --------------------------------------------------------------------------------------------------------------


class Remembering(CountingClassifier):
    """A candidate with a memory, whose answers show every window that it has followed."""

    def close(self) -> None: ...


def since(*records: Any) -> list[bytes]:
    """Return the probabilities of successive records of a model that begins with the first one."""
    positions = Positions(SPEC)
    following = Following(CountingClassifier(SPEC), SPEC.none_index, len(SPEC.classes))
    batches = [decode_batch([one], SPEC, max_bytes=1 << 20) for one in records]
    answers = [following.follow(batch, positions.order(batch, {})).probabilities[0] for batch in batches]
    return [one.astype("<f4").tobytes() for one in answers]


async def test_it_has_its_own_memory_which_is_cold_at_its_start() -> None:
    records = [marked_record("l", [0] * 4, SPEC, sequence=4 * number, offset=number) for number in range(5)]
    async with beside(None) as found:
        await found.offer(*records[:2])
        found.shadow.use(Remembering(SPEC, "candidate"))
        for one in records[2:]:
            await found.offer(one)
        assert [answer["probabilities"] for answer in found.answers()] == since(*records[2:])


async def test_lines_whose_windows_it_left_out_begin_cold_again_and_no_others() -> None:
    one, other = (
        [marked_record(line, [0] * 4, SPEC, sequence=4 * number, offset=number) for number in range(4)] for line in "lm"
    )
    async with beside(Remembering(SPEC, "candidate")) as found:
        await found.offer(one[0], other[0])
        await found.offer(one[1], behind=True)
        await found.offer(one[2], other[1])
        await found.offer(one[3], other[2])
        answers = [answer["probabilities"] for answer in found.answers()]
        assert answers[0::2] == [*since(one[0]), *since(*one[2:])]
        assert answers[1::2] == since(*other[:3])
        assert found.counted() == {"same": 24, "skipped": 4}


async def test_a_memory_is_not_taken_for_that_of_another_window_of_the_same_number() -> None:
    # While the candidate leaves windows out, the source restarts its count and reaches the same number again.
    first, again = (marked_record("l", [0] * 4, SPEC, offset=offset) for offset in (0, 1))
    follows = marked_record("l", [0] * 4, SPEC, sequence=4, offset=2)
    async with beside(Remembering(SPEC, "candidate")) as found:
        await found.offer(first)
        found.positions.forget(["l"])
        await found.offer(again, behind=True)
        await found.offer(follows)
        assert [answer["probabilities"] for answer in found.answers()] == [*since(first), *since(follows)]


async def test_windows_that_are_repeated_are_neither_counted_nor_published_again() -> None:
    first, overlap = marked_record("l", [0] * 4, SPEC), marked_record("l", [0] * 4, SPEC, sequence=2, offset=1)
    async with beside(Remembering(SPEC, "candidate")) as found:
        for one in (first, first, overlap):
            await found.offer(one)
        assert [(answer["sequence"], answer["count"]) for answer in found.answers()] == [(0, 4), (4, 2)]
        assert found.counted() == {"same": 6}
        both = since(first, marked_record("l", [0] * 2, SPEC, sequence=4))
        assert [answer["probabilities"] for answer in found.answers()] == both


async def test_after_a_failure_its_lines_begin_cold() -> None:
    class FailingOnce(Remembering):
        def follow(self, *arguments: Any) -> Any:
            answer = super().follow(*arguments)
            if len(self.calls) == 2:
                raise MemoryError("no room for the batch")
            return answer

    records = [marked_record("l", [0] * 4, SPEC, sequence=4 * number, offset=number) for number in range(4)]
    async with beside(FailingOnce(SPEC, "candidate")) as found:
        for one in records:
            await found.offer(one)
        assert [answer["probabilities"] for answer in found.answers()] == [*since(records[0]), *since(*records[2:])]
        assert found.counted() == {"same": 12, "failed": 4}
