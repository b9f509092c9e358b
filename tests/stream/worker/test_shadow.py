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
from stream.worker.metrics import WorkerMetrics
from stream.worker.shadow import Shadow
from tests.stream.doubles import NumberlessClassifier, RaisingClassifier, marked_record, until
from tests.stream.model_samples import SPEC
from tests.stream.worker.test_pipeline import ONE, ONSET, Rig, rig

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
        own = [msgspec.msgpack.decode(sent.value) for sent in found.rig.broker.sent if sent.topic == "window-classes"]
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
