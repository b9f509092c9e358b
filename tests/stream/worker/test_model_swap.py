"""The model in use: the first one of a worker, and the records that may and may not change it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
import structlog
from numpy.typing import NDArray

from faultline.testing import FakeClassifier
from model.artefact import Artefact
from model.artefact.signing import Ed25519PrivateKey
from model.errors import ShapeArtefactError
from stream.detection.warmth import WARM_WINDOWS
from stream.errors import WorkerError
from stream.registry.records import ModelRecord, archive_key, champion_key, shadow_key
from stream.worker.model_swap import ModelSwap
from stream.worker.shadow import Shadow
from tests.stream.doubles import CountingClassifier, marked_record, until
from tests.stream.model_samples import MAX_BYTES, SPEC, model_record, small_artefact
from tests.stream.worker.test_pipeline import ONSET, Rig, rig

DEFAULT, ONE, TWO = (small_artefact(number) for number in range(3))
KEY = Ed25519PrivateKey.generate()
CHAMPION, SHADOW = champion_key("line"), shadow_key("line")
UNBUILDABLE, UNSURE, RAISING = (small_artefact(number) for number in (100, 101, 102))


class Topic:
    """The topic models: its initial records, and those that arrive later."""

    def __init__(self, *records: ModelRecord) -> None:
        self.records = {record.key: record for record in records}
        self.later: asyncio.Queue[list[ModelRecord]] = asyncio.Queue()

    async def read_to_end(self) -> dict[str, ModelRecord]:
        return self.records

    async def next(self) -> list[ModelRecord]:
        return await self.later.get()

    async def close(self) -> None: ...


class Network(FakeClassifier):
    """An engine that can be closed, and must not be called afterwards."""

    closed = False

    def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        assert not self.closed
        answer = super().classify(windows)
        return np.full_like(answer, np.nan) if self.model_id == UNSURE.model_id else answer

    def close(self) -> None:
        self.closed = True


class Remembering(CountingClassifier):
    """An engine with a memory that can be closed, and must not be called afterwards."""

    closed = False
    failing = False

    def follow(self, *arguments: Any) -> Any:
        assert not self.closed
        if self.failing:
            raise MemoryError("no room for the batch")
        return super().follow(*arguments)

    def close(self) -> None:
        self.closed = True


class Workshop:
    """Build engines and remember them."""

    def __init__(self, kind: type[Network] | type[Remembering] = Network) -> None:
        self.kind = kind
        self.built: list[tuple[str, str | None, bool]] = []
        self.engines: dict[str, Any] = {}

    def __call__(self, artefact: Artefact, like: Any, *, shadow: bool) -> Any:
        if artefact.model_id == UNBUILDABLE.model_id:
            raise ShapeArtefactError("needs tensor 'gru/kernel'")
        if artefact.model_id == RAISING.model_id:
            raise MemoryError("no room")
        self.built.append((artefact.model_id, None if like is None else like.model_id, shadow))
        engine = self.engines[artefact.model_id] = self.kind(SPEC, artefact.model_id)
        return engine


class Bench:
    """A model swap between a given topic and a real pipeline."""

    def __init__(
        self,
        topic: Topic,
        *keys: Ed25519PrivateKey,
        default: Artefact | None = DEFAULT,
        kind: type[Network] | type[Remembering] = Network,
    ) -> None:
        self.topic = topic
        self.workshop = Workshop(kind)
        self.sequence = 0
        self.swap = ModelSwap(
            topic,  # type: ignore[arg-type]
            SPEC,
            default=default,
            origin="shipped" if default else "none ships.",
            build=self.workshop,
            keys=tuple(key.public_key() for key in keys),
            max_bytes=MAX_BYTES,
        )
        self.shadow = Shadow(SPEC, self.swap.metrics, topic=None, publish=_nobody)
        self.rig: Rig

    async def put(self, *records: ModelRecord) -> None:
        """Put records on the topic and return when each was processed, one after the other."""
        for record in records:
            await self.topic.later.put([record])
        # An empty fetch is processed when all before it are.
        await self.topic.later.put([])
        await until(self.topic.later.empty)

    async def classified_by(self, line: str = "l") -> str:
        """Return the model that classifies a window sent now."""
        await self.rig.submit(marked_record(line, ONSET, SPEC))
        await self.rig.pipeline.drain()
        return str(next(event["model_id"] for event in reversed(self.rig.events()) if event["line"] == line))

    async def send(self, windows: int = 4) -> None:
        """Send quiet windows of one line, and wait until a successor has followed them."""
        await self.rig.submit(marked_record("l", [0] * windows, SPEC, sequence=self.sequence, offset=self.sequence))
        self.sequence += windows
        await self.rig.pipeline.drain()
        await self.rig.pipeline.engine_idle()

    def in_use(self, artefact: Artefact) -> bool:
        """Return True if the metrics, the pipeline and the engine say that a model is in use."""
        info = self.counted("faultline_model_info", model_id=artefact.model_id, spec="line")
        return (
            info == 1
            and self.rig.pipeline.model_id == artefact.model_id
            and not self.workshop.engines[artefact.model_id].closed
        )

    def counted(self, name: str, **labels: str) -> float:
        return self.swap.metrics.registry.get_sample_value(name, labels) or 0.0

    def refused(self, reason: str) -> float:
        return self.counted("faultline_models_refused_total", reason=reason)


async def _nobody(records: Any) -> None:
    raise AssertionError("nothing is to be published")


@asynccontextmanager
async def working(
    *records: ModelRecord,
    keys: tuple[Ed25519PrivateKey, ...] = (),
    default: Artefact | None = DEFAULT,
    kind: type[Network] | type[Remembering] = Network,
) -> AsyncIterator[Bench]:
    bench = Bench(Topic(*records), *keys, default=default, kind=kind)
    engine = await bench.swap.choose_initial()
    async with rig(engine=engine) as bench.rig:
        following = asyncio.create_task(bench.swap.follow(bench.rig.pipeline, bench.shadow))
        try:
            yield bench
            assert not following.done(), following
        finally:
            following.cancel()
            await bench.shadow.close()
            await bench.swap.close()


async def begun_with(*records: ModelRecord, keys: tuple[Ed25519PrivateKey, ...] = ()) -> tuple[str, Bench]:
    bench = Bench(Topic(*records), *keys)
    engine = await bench.swap.choose_initial()
    await bench.swap.close()
    return engine.model_id, bench


# The beginning --------------------------------------------------------------------------------------------------------


async def test_an_empty_topic_leaves_the_artefact_that_the_worker_came_with() -> None:
    assert (await begun_with())[0] == DEFAULT.model_id
    assert (await begun_with(model_record("instant", ONE), model_record(SHADOW, TWO)))[0] == DEFAULT.model_id


async def test_a_worker_begins_with_the_champion_on_the_topic() -> None:
    model_id, bench = await begun_with(model_record(CHAMPION, ONE))
    assert model_id == ONE.model_id
    assert bench.workshop.built == [(ONE.model_id, None, False)], "the default artefact is not built for nothing"
    assert bench.counted("faultline_model_info", model_id=ONE.model_id, spec="line") == 1


async def test_a_champion_taken_back_leaves_the_default_artefact() -> None:
    archive = model_record(archive_key("line", ONE.model_id), ONE)
    assert (await begun_with(model_record(CHAMPION, None), archive))[0] == DEFAULT.model_id


async def test_behind_a_refused_champion_the_latest_promoted_model_is_used() -> None:
    spoilt = model_record(CHAMPION, TWO.to_bytes()[:-5])
    archive = [
        model_record(archive_key("line", one.model_id), one, offset=offset) for one, offset in ((DEFAULT, 3), (ONE, 8))
    ]
    model_id, bench = await begun_with(spoilt, *archive)
    assert model_id == ONE.model_id
    assert bench.refused("truncated") == 1


async def test_with_nothing_promoted_behind_a_refused_champion_the_default_artefact_is_used() -> None:
    model_id, bench = await begun_with(model_record(CHAMPION, UNBUILDABLE))
    assert model_id == DEFAULT.model_id
    assert bench.refused("shape") == 1


async def test_with_a_key_only_signed_records_count_at_the_beginning() -> None:
    signed = model_record(archive_key("line", ONE.model_id), ONE, private_key=KEY)
    for record in (model_record(CHAMPION, TWO), model_record(CHAMPION, None)):
        model_id, bench = await begun_with(record, signed, keys=(KEY,))
        assert model_id == ONE.model_id, "an unsigned record takes nobody back"
        assert bench.refused("unsigned") == 1
    assert (await begun_with(model_record(CHAMPION, None, private_key=KEY), signed, keys=(KEY,)))[0] == DEFAULT.model_id


async def test_a_worker_that_came_with_no_model_needs_one_on_the_topic() -> None:
    with pytest.raises(WorkerError, match=r"none ships\. Then run faultline models promote"):
        await Bench(Topic(), default=None).swap.choose_initial()
    async with working(model_record(CHAMPION, ONE), default=None) as bench:
        await bench.put(model_record(CHAMPION, None))
        await until(lambda: bench.refused("none") == 1)
        assert await bench.classified_by() == ONE.model_id, "the only model there is goes on"


# Swaps ----------------------------------------------------------------------------------------------------------------


async def test_a_new_champion_classifies_from_the_next_micro_batch_and_the_former_is_closed() -> None:
    async with working() as bench:
        assert await bench.classified_by("a") == DEFAULT.model_id
        await bench.put(model_record(CHAMPION, ONE))
        await until(lambda: bench.workshop.engines[DEFAULT.model_id].closed)
        assert await bench.classified_by("b") == ONE.model_id
        assert bench.counted("faultline_model_swaps_total") == 1
        assert bench.counted("faultline_model_info", model_id=ONE.model_id, spec="line") == 1
        assert bench.counted("faultline_model_info", model_id=DEFAULT.model_id, spec="line") == 0
        assert bench.workshop.built[-1] == (ONE.model_id, DEFAULT.model_id, False), "it may share what is compiled"


async def test_the_former_engine_is_closed_only_after_its_last_answer() -> None:
    async with working() as bench:
        former = bench.workshop.engines[DEFAULT.model_id]
        begun, go = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        answer: Callable[[NDArray[np.float32]], NDArray[np.float32]] = former.classify

        def slow(windows: NDArray[np.float32]) -> NDArray[np.float32]:
            loop.call_soon_threadsafe(begun.set)
            asyncio.run_coroutine_threadsafe(go.wait(), loop).result(10)
            return answer(windows)

        former.classify = slow
        # This number of windows is too large to be classified in the event loop.
        await bench.rig.submit(marked_record("a", ONSET * 30, SPEC))
        await begun.wait()
        await bench.topic.later.put([model_record(CHAMPION, ONE)])
        await until(lambda: bench.counted("faultline_model_swaps_total"))
        assert not former.closed
        go.set()
        await bench.rig.pipeline.drain()
        assert [event["model_id"] for event in bench.rig.events()] == [DEFAULT.model_id]
        await until(lambda: former.closed)


async def test_of_several_champions_that_come_together_only_the_newest_is_built() -> None:
    async with working() as bench:
        await bench.topic.later.put([model_record(CHAMPION, ONE), model_record(CHAMPION, TWO, offset=1)])
        await until(lambda: bench.counted("faultline_model_swaps_total"))
        assert await bench.classified_by() == TWO.model_id
        assert ONE.model_id not in bench.workshop.engines


async def test_a_repeated_champion_and_other_keys_change_nothing() -> None:
    async with working(model_record(CHAMPION, ONE)) as bench:
        await bench.put(
            model_record(CHAMPION, ONE, offset=1),
            model_record(archive_key("line", TWO.model_id), TWO),
            model_record("instant", TWO),
            model_record("line/nonsense", TWO),
            model_record("", None),
        )
        assert await bench.classified_by() == ONE.model_id
        assert bench.counted("faultline_model_swaps_total") == 0


async def test_a_champion_taken_back_brings_the_default_artefact_again() -> None:
    async with working(model_record(CHAMPION, ONE)) as bench:
        await bench.put(model_record(CHAMPION, None))
        await until(lambda: bench.counted("faultline_model_swaps_total"))
        assert await bench.classified_by() == DEFAULT.model_id


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (TWO.to_bytes()[:-3], "truncated"),
        (TWO.to_bytes()[:-3] + b"abc", "corrupt"),
        (b"\0" * (MAX_BYTES + 1), "oversize"),
        (small_artefact(spec=SPEC.model_copy(update={"name": "other"})), "spec"),
        (UNBUILDABLE, "shape"),
        (UNSURE, "not-finite"),
        (RAISING, "failed"),
    ],
)
async def test_a_bad_record_changes_nothing_and_is_counted_with_its_reason(value: Any, reason: str) -> None:
    async with working(model_record(CHAMPION, ONE)) as bench:
        await bench.put(model_record(CHAMPION, value), model_record(SHADOW, value))
        await until(lambda: bench.refused(reason) == 2)
        assert await bench.classified_by("a") == ONE.model_id
        assert bench.shadow.model_id is None
        assert not bench.workshop.engines[ONE.model_id].closed
        await bench.put(model_record(CHAMPION, TWO))
        await until(lambda: bench.counted("faultline_model_swaps_total"))
        assert await bench.classified_by("b") == TWO.model_id, "a good one behind it is taken"


async def test_with_a_key_nothing_unsigned_changes_the_model_not_even_a_tombstone() -> None:
    async with working(model_record(CHAMPION, ONE, private_key=KEY), keys=(KEY,)) as bench:
        other = Ed25519PrivateKey.generate()
        await bench.put(model_record(CHAMPION, TWO), model_record(CHAMPION, None), model_record(SHADOW, TWO))
        await until(lambda: bench.refused("unsigned") == 3)
        await bench.put(
            model_record(CHAMPION, TWO, private_key=other),
            model_record(CHAMPION, TWO, private_key=KEY, signed_for=SHADOW),
        )
        await until(lambda: bench.refused("signature") == 2)
        assert await bench.classified_by("a") == ONE.model_id
        await bench.put(model_record(CHAMPION, TWO, private_key=KEY))
        await until(lambda: bench.counted("faultline_model_swaps_total"))
        assert await bench.classified_by("b") == TWO.model_id


async def test_a_shadow_comes_and_goes_and_the_champion_stays() -> None:
    async with working(model_record(SHADOW, ONE)) as bench:
        await until(lambda: bench.shadow.model_id == ONE.model_id)
        assert bench.workshop.built[-1] == (ONE.model_id, DEFAULT.model_id, True)
        assert bench.counted("faultline_shadow_info", model_id=ONE.model_id, spec="line") == 1
        await bench.put(model_record(SHADOW, TWO))
        await until(lambda: bench.shadow.model_id == TWO.model_id)
        assert bench.workshop.engines[ONE.model_id].closed
        await bench.put(model_record(SHADOW, None))
        await until(lambda: bench.shadow.model_id is None)
        assert bench.counted("faultline_shadow_info", model_id=TWO.model_id, spec="line") == 0
        assert await bench.classified_by() == DEFAULT.model_id


# Swaps with a memory -------------------------------------------------------------------------------------------------


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Return what is logged, and let no warm-up end by its bound."""
    monkeypatch.setattr("stream.worker.succession.WARMING_S", 3600.0)
    with structlog.testing.capture_logs() as captured:
        yield captured


def told(logs: list[Any]) -> list[tuple[str, str]]:
    """Return the log lines about models, with the model."""
    return [(line["event"], line["model_id"]) for line in logs if line["event"].startswith("model-")]


async def test_a_new_champion_warms_and_is_counted_when_it_takes_over(logs: list[Any]) -> None:
    async with working(kind=Remembering) as bench:
        await bench.send()
        await bench.put(model_record(CHAMPION, ONE))
        await until(lambda: ("model-warming", ONE.model_id) in told(logs))
        await bench.send(WARM_WINDOWS - 1)
        assert bench.in_use(DEFAULT)
        assert bench.counted("faultline_model_swaps_total") == 0
        await bench.send(1)
        assert bench.in_use(ONE)
        assert bench.counted("faultline_model_swaps_total") == 1
        await until(lambda: bench.workshop.engines[DEFAULT.model_id].closed)
        await bench.send()
        assert told(logs)[1:] == [("model-warming", ONE.model_id), ("model-swapped", ONE.model_id)]
        (swapped,) = (line for line in logs if line["event"] == "model-swapped")
        assert (swapped["former"], swapped["by"], swapped["reason"]) == (DEFAULT.model_id, "tester", "test")
        assert (swapped["lines"], swapped["cold_lines"], swapped["followed_from"]) == (1, 0, {0: 4})


async def test_of_two_champions_the_newer_takes_over_and_the_older_is_closed(logs: list[Any]) -> None:
    async with working(kind=Remembering) as bench:
        await bench.send()
        await bench.put(model_record(CHAMPION, ONE))
        await bench.send()
        await bench.put(model_record(CHAMPION, ONE, offset=1), model_record(CHAMPION, TWO, offset=2))
        await until(lambda: ("model-warming", TWO.model_id) in told(logs))
        await until(lambda: bench.workshop.engines[ONE.model_id].closed)
        await bench.send(WARM_WINDOWS)
        assert bench.in_use(TWO)
        assert bench.counted("faultline_model_swaps_total") == 1
        assert bench.counted("faultline_model_info", model_id=ONE.model_id, spec="line") == 0
        assert told(logs)[1:] == [
            ("model-warming", ONE.model_id),
            ("model-already-warming", ONE.model_id),
            ("model-dropped", ONE.model_id),
            ("model-warming", TWO.model_id),
            ("model-swapped", TWO.model_id),
        ]


async def test_a_rollback_during_the_warm_up_keeps_the_model_in_use(logs: list[Any]) -> None:
    async with working(model_record(CHAMPION, ONE), kind=Remembering) as bench:
        await bench.send()
        await bench.put(model_record(CHAMPION, TWO), model_record(CHAMPION, ONE, offset=1))
        await until(lambda: ("model-already-in-use", ONE.model_id) in told(logs))
        await until(lambda: bench.workshop.engines[TWO.model_id].closed)
        await bench.send(2 * WARM_WINDOWS)
        assert bench.in_use(ONE)
        assert bench.counted("faultline_model_swaps_total") == 0


async def test_a_bad_record_does_not_end_a_warm_up(logs: list[Any]) -> None:
    async with working(kind=Remembering) as bench:
        await bench.send()
        await bench.put(model_record(CHAMPION, ONE), model_record(CHAMPION, UNBUILDABLE, offset=1))
        await until(lambda: bench.refused("shape") == 1)
        await bench.send(WARM_WINDOWS)
        assert bench.in_use(ONE)


async def test_a_champion_that_fails_while_it_warms_is_refused_and_may_come_again(logs: list[Any]) -> None:
    async with working(kind=Remembering) as bench:
        await bench.send()
        await bench.put(model_record(CHAMPION, ONE))
        await until(lambda: ("model-warming", ONE.model_id) in told(logs))
        failed = bench.workshop.engines[ONE.model_id]
        failed.failing = True
        await bench.send(2 * WARM_WINDOWS)
        assert bench.in_use(DEFAULT)
        assert bench.refused("failed") == 1
        assert told(logs)[-1] == ("model-refused", ONE.model_id)
        await until(lambda: failed.closed)
        await bench.put(model_record(CHAMPION, ONE, offset=1))
        await until(lambda: told(logs).count(("model-warming", ONE.model_id)) == 2)
        await bench.send(WARM_WINDOWS)
        assert bench.in_use(ONE)


async def test_the_default_artefact_warms_when_the_champion_is_taken_back(logs: list[Any]) -> None:
    async with working(model_record(CHAMPION, ONE), kind=Remembering) as bench:
        await bench.send()
        await bench.put(model_record(CHAMPION, None))
        await until(lambda: ("model-warming", DEFAULT.model_id) in told(logs))
        assert bench.in_use(ONE)
        await bench.send(WARM_WINDOWS)
        assert bench.in_use(DEFAULT)


async def test_a_warm_up_delays_neither_shadows_nor_the_end(logs: list[Any]) -> None:
    async with working(kind=Remembering) as bench:
        await bench.send()
        await bench.put(model_record(CHAMPION, ONE), model_record(SHADOW, TWO))
        await until(lambda: bench.shadow.model_id == TWO.model_id)
        assert bench.in_use(DEFAULT)
    assert [engine.closed for engine in bench.workshop.engines.values()] == [True] * 3
