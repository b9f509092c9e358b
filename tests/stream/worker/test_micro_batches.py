"""The closing of a micro-batch, and the model that classifies it."""

from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from faultline.testing import FakeClassifier
from stream.worker.pipeline import INLINE_WINDOWS
from tests.stream.doubles import SilentBroker, marked_record, record, settle
from tests.stream.worker.test_pipeline import ONE, ONSET, SPEC, rig


async def test_a_micro_batch_closes_when_it_has_enough_windows() -> None:
    engine = FakeClassifier(SPEC)
    far = time.monotonic() + 1e6
    async with rig(engine=engine, batch_windows=6) as ours:
        await ours.submit(marked_record("a", [0] * 3, SPEC), arrived_s=far, last=False)
        await settle()
        assert engine.calls == []
        await ours.submit(marked_record("b", [0] * 3, SPEC), arrived_s=far, last=False, partition=ONE)
        await ours.pipeline.drain()
        assert engine.calls == [6]


async def test_a_micro_batch_closes_when_its_oldest_record_has_waited_for_the_deadline() -> None:
    engine = FakeClassifier(SPEC)
    async with rig(engine=engine, batch_windows=6, batch_deadline_ms=1000.0) as ours:
        await ours.submit(marked_record("a", [0] * 3, SPEC), arrived_s=time.monotonic() - 2.0)
        await ours.pipeline.drain()
        assert engine.calls == [3]


async def test_a_micro_batch_holds_what_came_in_one_fetch_and_waits_for_nothing_else_while_the_engine_is_idle() -> None:
    engine = FakeClassifier(SPEC)
    async with rig(engine=engine, batch_windows=100, batch_deadline_ms=60_000.0) as ours:
        await ours.submit(marked_record("a", [0] * 3, SPEC), last=False)
        await settle()
        assert engine.calls == []
        await ours.submit(marked_record("b", [0] * 2, SPEC), partition=ONE)
        await ours.pipeline.drain()
        assert engine.calls == [5]


async def test_a_micro_batch_waits_for_more_while_the_engine_rests_from_a_dear_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 1000.0
    for module in ("pipeline", "batcher"):
        monkeypatch.setattr(f"stream.worker.{module}.time", SimpleNamespace(monotonic=lambda: now_s))

    class Dear(FakeClassifier):
        def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
            nonlocal now_s
            now_s += 30.0
            return super().classify(windows)

    engine = Dear(SPEC)
    async with rig(engine=engine, batch_windows=6, batch_deadline_ms=60_000.0) as ours:
        await ours.submit(marked_record("a", [0] * 3, SPEC), arrived_s=now_s)
        await ours.pipeline.drain()
        await ours.submit(marked_record("b", [0] * 3, SPEC, offset=1), arrived_s=now_s)
        await settle()
        assert engine.calls == [3]
        await ours.submit(marked_record("c", [0] * 3, SPEC, offset=2), arrived_s=now_s)
        await ours.pipeline.drain()
        assert engine.calls == [3, 6]
        now_s += 30.0
        await ours.submit(marked_record("d", [0] * 3, SPEC, offset=3), arrived_s=now_s)
        await ours.pipeline.drain()
        assert engine.calls == [3, 6, 3]


class _Held(FakeClassifier):
    """Classify, off the event loop, once the test permits."""

    def __init__(self) -> None:
        super().__init__(SPEC)
        self.begun, self.go_on = threading.Semaphore(0), threading.Semaphore(0)

    def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        self.begun.release()
        assert self.go_on.acquire(timeout=30)
        return super().classify(windows)


MANY = INLINE_WINDOWS + 1


async def test_what_is_fetched_while_the_engine_is_at_work_is_one_micro_batch() -> None:
    engine = _Held()
    async with rig(engine=engine, batch_windows=4 * MANY) as ours:
        await ours.submit(marked_record("a", [0] * MANY, SPEC))
        assert await asyncio.to_thread(engine.begun.acquire, timeout=30)
        for offset, line in enumerate("bcd", start=1):
            async with asyncio.timeout(5):
                await ours.submit(marked_record(line, [0] * MANY, SPEC, offset=offset))
        await settle()
        engine.go_on.release(2)
        await ours.pipeline.drain()
        assert engine.calls == [MANY, 3 * MANY]
        assert [offset for offset, _ in ours.acknowledged] == [0, 1, 2, 3]


async def test_no_more_is_taken_than_the_micro_batch_at_work_and_a_full_one() -> None:
    engine = _Held()
    async with rig(engine=engine, batch_windows=MANY) as ours:
        taken = 0

        async def submit() -> None:
            nonlocal taken
            for offset in range(8):
                await ours.submit(marked_record(f"l{offset}", [0] * MANY, SPEC, offset=offset))
                taken += 1

        submitting = asyncio.ensure_future(submit())
        assert await asyncio.to_thread(engine.begun.acquire, timeout=30)
        await settle()
        assert taken == 3, "one at work, one full, one on the way"
        engine.go_on.release(8)
        await submitting
        await ours.pipeline.drain()
        assert engine.calls == [MANY] * 8


async def test_a_full_micro_batch_goes_to_an_engine_that_is_free_though_nothing_follows() -> None:
    engine = _Held()
    async with rig(engine=engine, batch_windows=MANY) as ours:
        for offset in range(2):
            await ours.submit(marked_record("l", [0] * MANY, SPEC, sequence=offset * MANY, offset=offset))
        engine.go_on.release(2)
        async with asyncio.timeout(10):
            await ours.pipeline.drain()
        assert engine.calls == [MANY] * 2


async def test_a_flood_of_invalid_records_does_not_grow_one_micro_batch_for_ever() -> None:
    broker = SilentBroker()
    async with rig(broker, batch_windows=8) as ours:

        async def flood() -> None:
            for first in range(0, 4000, 4):
                await ours.submit(*[record(b"l", b"", offset=first + i) for i in range(4)])

        flooding = asyncio.ensure_future(flood())
        # The broker acknowledges nothing, so only the few micro-batches that the stages hold are sent.
        for _ in range(20):
            await settle()
        assert 0 < len(broker.sent) <= 6 * 8
        flooding.cancel()


async def test_a_swap_between_micro_batches_never_mixes_models() -> None:
    engine_a, engine_b = FakeClassifier(SPEC, "model-a"), FakeClassifier(SPEC, "model-b")
    far = time.monotonic() + 1e6
    async with rig(engine=engine_a, batch_windows=6) as ours:
        await ours.submit(marked_record("l", ONSET, SPEC), arrived_s=far, last=False)
        await settle()
        ours.pipeline.swap(engine_b)
        await ours.submit(marked_record("m", ONSET, SPEC, offset=1), arrived_s=far, last=False, partition=ONE)
        await ours.pipeline.drain()
        first = {event["model_id"] for event in ours.events()}
        await ours.submit(marked_record("n", [*ONSET, *ONSET], SPEC, offset=2))
        await ours.pipeline.drain()
        assert len(first) == 1
        assert [event["model_id"] for event in ours.events() if event["line"] == "n"] == ["model-b"]
        assert sum(engine_a.calls) + sum(engine_b.calls) == 12


async def test_a_swap_while_the_engine_runs_does_not_rename_its_answers() -> None:
    started, go = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    class Slow(FakeClassifier):
        def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
            loop.call_soon_threadsafe(started.set)
            asyncio.run_coroutine_threadsafe(go.wait(), loop).result(10)
            return super().classify(windows)

    async with rig(engine=Slow(SPEC, "model-a")) as ours:
        # This number of windows is too large to be classified in the event loop.
        await ours.submit(marked_record("l", ONSET * 30, SPEC))
        await started.wait()
        ours.pipeline.swap(FakeClassifier(SPEC, "model-b"))
        go.set()
        await ours.pipeline.drain()
        assert [event["model_id"] for event in ours.events()] == ["model-a"]
