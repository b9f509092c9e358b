"""The model in use and its successor, which follows the same windows until it is warm."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from faultline.testing import FakeClassifier
from model.engine import Engine
from model.spec import load_spec
from stream.detection.classify import Classifier
from stream.detection.decode import decode_batch
from stream.detection.following import Following
from stream.detection.line_state import decode_state
from stream.detection.order import Positions
from stream.detection.warmth import WARM_WINDOWS
from stream.windowing import encode_windows
from stream.worker.succession import SwapEnd
from tests.model.model_samples import artefact_of, windows_of
from tests.stream.doubles import (
    RATE_HZ,
    START_NS,
    CountingClassifier,
    PromptBroker,
    hop_ns,
    marked_record,
    record,
    settle,
    until,
)
from tests.stream.worker.test_pipeline import ONE, ONSET, ZERO, Rig, rig

SPEC = load_spec("line")
AG = SPEC.class_index("AG")
BLOCK = 16
"""Number of windows in a record of these tests."""
BLOCKS = WARM_WINDOWS // BLOCK


class Line:
    """A line with a partition of its own that sends a record of ``BLOCK`` windows whenever it is asked to."""

    def __init__(self, ours: Rig, name: str = "l", partition: Any = ZERO) -> None:
        self.ours, self.name, self.partition = ours, name, partition
        self.sequence = 0
        self.sent: list[Any] = []

    async def send(self, times: int = 1, classes: Sequence[int] = (0,) * BLOCK, *, follow: bool = True) -> None:
        """Send records one after the other, each in a micro-batch of its own, and wait for their answers.

        Wait also until a successor has followed them, unless ``follow`` is False.
        """
        for _ in range(times):
            one = marked_record(
                self.name,
                classes,
                SPEC,
                sequence=self.sequence,
                offset=len(self.sent),
                partition=self.partition.partition,
            )
            self.sequence += len(classes)
            self.sent.append(one)
            await self.ours.submit(one, partition=self.partition)
            await self.ours.pipeline.drain()
            if follow:
                await self.ours.pipeline.engine_idle()


class Ends(list[SwapEnd]):
    """Ends of successors, in the order in which they came."""

    def of(self, ours: Rig, engine: Classifier) -> bool:
        return ours.pipeline.swap(engine, self.append)


def answers(broker: PromptBroker, model_id: str | None = None) -> dict[tuple[int, int], tuple[str, bytes]]:
    """Return model and probabilities of every record by partition and offset; each is answered once."""
    found: dict[tuple[int, int], tuple[str, bytes]] = {}
    for sent in broker.sent:
        if sent.topic == "window-classes":
            body = msgspec.msgpack.decode(sent.value or b"")
            place = body["source"]["partition"], body["source"]["offset"]
            assert place not in found
            if model_id in (None, body["model_id"]):
                found[place] = body["model_id"], body["probabilities"]
    return found


def followed(records: Sequence[Any], engine: Classifier) -> Iterator[tuple[int, bytes]]:
    """Yield offset and probabilities of successive records of a partition that a model follows from the first on."""
    positions, following = Positions(SPEC), Following(engine, SPEC.none_index, len(SPEC.classes))
    for one in records:
        batch = decode_batch([one], SPEC, max_bytes=1 << 20)
        (probabilities,) = following.follow(batch, positions.order(batch, {})).probabilities
        yield one.offset, probabilities.astype("<f4").tobytes()


def rigged(engine: Any = None, **options: Any) -> Any:
    return rig(engine=CountingClassifier(SPEC) if engine is None else engine, window_classes=True, **options)


@pytest.fixture
def no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no warm-up end by its bound."""
    monkeypatch.setattr("stream.worker.succession.WARMING_S", 3600.0)


@pytest.fixture
def short_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a warm-up end by its bound almost at once."""
    monkeypatch.setattr("stream.worker.succession.WARMING_S", 0.02)


# Warm-up -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_bound")
async def test_a_successor_takes_over_when_every_line_is_warm_and_with_a_memory_of_its_own() -> None:
    ends = Ends()
    async with rigged() as ours:
        fast, slow = Line(ours, "fast"), Line(ours, "slow", ONE)
        await fast.send(3)
        assert not ends.of(ours, CountingClassifier(SPEC, "model-b"))
        await slow.send()
        await fast.send(BLOCKS)
        assert (ours.pipeline.model_id, ends) == ("model-a", [])
        await slow.send(BLOCKS - 1)
        assert ours.pipeline.model_id == "model-b"
        assert ends == [SwapEnd(in_use=True, lines=2, cold_lines=0, followed_from={0: 3, 1: 0})]
        await fast.send(2)
        await slow.send(2)
        found = answers(ours.broker)
        assert [found[0, offset][0] for offset in range(9)] == ["model-a"] * 7 + ["model-b"] * 2
        assert [found[1, offset][0] for offset in range(6)] == ["model-a"] * 4 + ["model-b"] * 2
        for partition, line in enumerate((fast, slow)):
            first = ends[0].followed_from[partition]
            expected = dict(followed(line.sent[first:], CountingClassifier(SPEC)))
            found_b = {
                offset: row for (part, offset), (_, row) in answers(ours.broker, "model-b").items() if part == partition
            }
            assert found_b == {offset: expected[offset] for offset in found_b}
            assert len(found_b) == 2


@pytest.mark.usefixtures("no_bound")
async def test_states_are_of_the_model_in_use() -> None:
    async with rigged() as ours:
        line = Line(ours)
        await line.send()
        ours.pipeline.swap(CountingClassifier(SPEC, "model-b"))
        await line.send(BLOCKS + 1)
        states = [decode_state(sent.value or b"") for sent in ours.broker.sent if sent.topic == "line-states"]
        assert [state.memory_of for state in states] == ["model-a"] * (1 + BLOCKS) + ["model-b"]


@pytest.mark.usefixtures("no_bound")
async def test_events_do_not_wait_for_a_successor() -> None:
    go = threading.Event()

    class Slow(CountingClassifier):
        def follow(self, *arguments: Any) -> Any:
            assert go.wait(10)
            return super().follow(*arguments)

    async with rigged() as ours:
        line = Line(ours)
        await line.send()
        ours.pipeline.swap(Slow(SPEC, "model-b"))
        await line.send(classes=ONSET, follow=False)
        # The micro-batch is acknowledged although the successor has not yet followed it.
        assert [event["state"] for event in ours.events()] == ["onset"]
        assert ours.ledger.committable() == {ZERO: 2}
        go.set()


@pytest.mark.usefixtures("no_bound")
async def test_an_open_episode_stays_open_over_a_swap() -> None:
    async with rigged() as ours:
        line = Line(ours)
        await line.send(classes=[0, 0, *ONSET])
        ours.pipeline.swap(CountingClassifier(SPEC, "model-b"))
        await line.send(BLOCKS, classes=[AG] * BLOCK)
        assert ours.pipeline.model_id == "model-b"
        await line.send(2, classes=[AG] * BLOCK)
        await line.send()
        assert [(event["state"], event["model_id"]) for event in ours.events()] == [
            ("onset", "model-a"),
            ("clear", "model-b"),
        ]
        assert len({event["episode_id"] for event in ours.events()}) == 1


@pytest.mark.usefixtures("no_bound")
async def test_a_line_without_windows_during_the_warm_up_begins_cold() -> None:
    async with rigged() as ours:
        line, rare = Line(ours), Line(ours, "rare", ONE)
        await rare.send(3)
        await line.send()
        ours.pipeline.swap(CountingClassifier(SPEC, "model-b"))
        await line.send(BLOCKS)
        await rare.send(2)
        (_, cold), (_, warm) = (answers(ours.broker)[1, offset] for offset in (3, 4))
        expected = [row for _, row in followed(rare.sent[3:], CountingClassifier(SPEC))]
        assert [cold, warm] == expected
        assert answers(ours.broker)[1, 3][0] == "model-b"


# Ends of a warm-up ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("short_bound")
async def test_without_traffic_and_with_rare_lines_the_bound_ends_the_warm_up() -> None:
    ends = Ends()
    async with rigged() as ours:
        line = Line(ours)
        await line.send()
        ends.of(ours, CountingClassifier(SPEC, "model-b"))
        await until(lambda: ends)
        assert ends.pop() == SwapEnd(in_use=True)
        ends.of(ours, CountingClassifier(SPEC, "model-c"))
        await line.send()
        await until(lambda: ends)
        assert (ends[0].in_use, ours.pipeline.model_id) == (True, "model-c")
        await line.send()
        assert not ours.pipeline.failure.done()


@pytest.mark.usefixtures("no_bound")
async def test_the_bound_takes_effect_between_two_micro_batches() -> None:
    begun, go = threading.Event(), threading.Event()

    class Slow(CountingClassifier):
        def follow(self, *arguments: Any) -> Any:
            begun.set()
            assert go.wait(10)
            return super().follow(*arguments)

    ends = Ends()
    async with rigged() as ours:
        line = Line(ours)
        await line.send()
        ends.of(ours, Slow(SPEC, "model-b"))
        await line.send(follow=False)
        await until(begun.is_set)
        # The timer's function, called at this very moment.
        ours.pipeline._succession._end_warming()
        await settle()
        assert (ours.pipeline.model_id, ends) == ("model-a", [])
        go.set()
        await until(lambda: ends)
        assert ends == [SwapEnd(in_use=True, lines=1, cold_lines=1, followed_from={0: 1})]
        await line.send()
        found = answers(ours.broker, "model-b")[0, 2][1]
        assert found == dict(followed(line.sent[1:], CountingClassifier(SPEC)))[2]


@pytest.mark.parametrize(
    ("first", "second"),
    [(FakeClassifier, CountingClassifier), (CountingClassifier, FakeClassifier), (FakeClassifier, FakeClassifier)],
)
@pytest.mark.usefixtures("no_bound")
async def test_without_a_memory_a_swap_takes_effect_at_once(first: Any, second: Any) -> None:
    ends = Ends()
    async with rigged(first(SPEC)) as ours:
        line = Line(ours)
        await line.send()
        assert ends.of(ours, second(SPEC, "model-b"))
        assert ends == [SwapEnd(in_use=True)]
        await line.send()
        assert [model for model, _ in answers(ours.broker).values()] == ["model-a", "model-b"]


@pytest.mark.usefixtures("no_bound")
async def test_before_the_first_window_a_swap_takes_effect_at_once() -> None:
    async with rigged() as ours:
        assert Ends().of(ours, CountingClassifier(SPEC, "model-b"))
        await Line(ours).send()
        assert [model for model, _ in answers(ours.broker).values()] == ["model-b"]


@pytest.mark.usefixtures("no_bound")
async def test_of_two_successors_the_newer_takes_over() -> None:
    ends, newer = Ends(), Ends()
    async with rigged() as ours:
        line = Line(ours)
        await line.send()
        ends.of(ours, CountingClassifier(SPEC, "model-b"))
        await line.send(BLOCKS - 1)
        newer.of(ours, CountingClassifier(SPEC, "model-c"))
        assert ends == [SwapEnd(in_use=False, lines=1, cold_lines=1, followed_from={0: 1})]
        await line.send(BLOCKS - 1)
        assert ours.pipeline.model_id == "model-a"
        await line.send()
        assert ours.pipeline.model_id == "model-c"
        assert newer == [SwapEnd(in_use=True, lines=1, followed_from={0: BLOCKS})]
        assert len(ends) == 1


@pytest.mark.usefixtures("no_bound")
async def test_a_successor_that_is_not_wanted_any_more_is_dropped() -> None:
    ends = Ends()
    async with rigged() as ours:
        line = Line(ours)
        await line.send()
        ends.of(ours, CountingClassifier(SPEC, "model-b"))
        await line.send()
        ours.pipeline.keep()
        ours.pipeline.keep()
        await line.send(2 * BLOCKS)
        assert [end.in_use for end in ends] == [False]
        assert dict(followed(line.sent, CountingClassifier(SPEC))) == {
            offset: row for (_, offset), (_, row) in answers(ours.broker, "model-a").items()
        }


@pytest.mark.usefixtures("no_bound")
async def test_a_successor_that_fails_is_dropped_and_the_model_in_use_goes_on() -> None:
    class Failing(CountingClassifier):
        def follow(self, *arguments: Any) -> Any:
            if self.calls:
                raise MemoryError("no room for the batch")
            return super().follow(*arguments)

    ends = Ends()
    async with rigged() as ours:
        line = Line(ours)
        await line.send()
        ends.of(ours, Failing(SPEC, "model-b"))
        await line.send(2 * BLOCKS)
        assert [(end.in_use, type(end.error)) for end in ends] == [(False, MemoryError)]
        assert {model for model, _ in answers(ours.broker).values()} == {"model-a"}
        assert len(answers(ours.broker)) == 1 + 2 * BLOCKS
        ends.of(ours, CountingClassifier(SPEC, "model-c"))
        await line.send(BLOCKS)
        assert ours.pipeline.model_id == "model-c"


@pytest.mark.usefixtures("no_bound")
async def test_revoked_lines_keep_no_successor_waiting_and_leave_no_memory() -> None:
    ends = Ends()
    async with rigged() as ours:
        gone, line = Line(ours, "gone"), Line(ours, "l", ONE)
        await gone.send()
        ends.of(ours, CountingClassifier(SPEC, "model-b"))
        await gone.send(BLOCKS - 1)
        ours.ledger.forget()
        ours.states.forget()
        # The line gets the slot of the one that is gone.
        await line.send(BLOCKS - 1)
        assert (ours.pipeline.model_id, ends) == ("model-a", [])
        await line.send()
        assert ends == [SwapEnd(in_use=True, lines=1, followed_from={1: 0})]
        await line.send()
        found = answers(ours.broker, "model-b")[1, BLOCKS][1]
        assert found == dict(followed(line.sent, CountingClassifier(SPEC)))[BLOCKS]


async def test_a_pipeline_stops_during_a_warm_up(short_bound: None) -> None:
    ends = Ends()
    async with rigged() as ours:
        line = Line(ours)
        await line.send()
        ends.of(ours, CountingClassifier(SPEC, "model-b"))
    await asyncio.sleep(0.05)
    assert ends == []


# Many swaps ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_bound")
async def test_a_hundred_swaps_in_a_row_under_load_lose_repeat_and_mix_nothing() -> None:
    lines, swaps = "ab", 100
    ends: list[tuple[str, SwapEnd]] = []
    async with rigged(batch_windows=2 * BLOCK) as ours:
        sent: list[Any] = []
        done = asyncio.Event()

        async def load() -> None:
            while not done.is_set() or len(sent) % len(lines):
                turn, line = divmod(len(sent), len(lines))
                sent.append(
                    marked_record(lines[line], [turn % 2] * BLOCK, SPEC, sequence=BLOCK * turn, offset=len(sent))
                )
                await ours.submit(sent[-1])
                await asyncio.sleep(0)

        def on_end(model_id: str) -> Callable[[SwapEnd], None]:
            return lambda end: ends.append((model_id, end))

        loading = asyncio.create_task(load())
        await until(lambda: ours.ledger.committable())
        for number in range(swaps):
            ours.pipeline.swap(CountingClassifier(SPEC, f"model-{number}"), on_end(f"model-{number}"))
            await until(lambda number=number: len(ends) > number, 60)
        await settle()
        done.set()
        await loading
        await ours.pipeline.drain()
    assert [(model_id, end.in_use, end.cold_lines) for model_id, end in ends] == [
        (f"model-{number}", True, 0) for number in range(swaps)
    ]
    found = answers(ours.broker)
    assert sorted(found) == [(0, offset) for offset in range(len(sent))]
    models = [found[0, offset][0] for offset in range(len(sent))]
    assert list(dict.fromkeys(models)) == ["model-a", *(f"model-{number}" for number in range(swaps))]
    starts = {"model-a": 0} | {model_id: end.followed_from[0] for model_id, end in ends}
    for model_id, first in starts.items():
        own = [offset for offset, model in enumerate(models) if model == model_id]
        assert own == list(range(own[0], own[-1] + 1)), "no model answers after its successor"
        expected = dict(followed(sent[first : own[-1] + 1], CountingClassifier(SPEC)))
        assert all(found[0, offset][1] == expected[offset] for offset in own)


@pytest.mark.usefixtures("no_bound")
async def test_a_network_of_equal_weights_takes_over_without_any_difference() -> None:
    windows = windows_of(SPEC, 12 * BLOCK)
    records = [
        record(
            b"l",
            encode_windows(
                block, SPEC, sequence=at * BLOCK, start_ns=START_NS + at * BLOCK * hop_ns(SPEC), rate_hz=RATE_HZ
            ),
            offset=at,
        )
        for at, block in enumerate(np.split(windows, 12))
    ]
    brokers = {"model-a": PromptBroker(), "model-b": PromptBroker()}
    with Engine(artefact_of(SPEC, architecture="gru-memory", phasors=True), buckets=(16,)) as engine:
        for successor, broker in brokers.items():
            async with rigged(Renamed(engine, "model-a"), broker=broker) as ours:
                for one in records:
                    if one.offset == 2 and successor == "model-b":
                        ours.pipeline.swap(Renamed(engine, successor))
                    await ours.submit(one)
                    await ours.pipeline.drain()
        cold = dict(followed(records[2:], engine))
    undisturbed, found = (answers(broker) for broker in brokers.values())
    assert [found[0, offset][0] == "model-b" for offset in range(12)] == [False] * 6 + [True] * 6
    differences = [_difference(cold[offset], undisturbed[0, offset][1]) for offset in range(2, 12)]
    assert differences[0] > 0.1, "a cold start shows in the first answers"
    assert max(differences[BLOCKS:]) < 0.01, "and not after a warm-up"
    for offset in range(12):
        expected = undisturbed[0, offset][1] if offset < 6 else cold[offset]
        assert _difference(found[0, offset][1], expected) < 1e-5
    first, second = (_episodes(broker) for broker in brokers.values())
    assert first == second
    assert first, "the windows contain faults for this network"


def _difference(one: bytes, other: bytes) -> float:
    return float(np.abs(np.frombuffer(one, "<f4") - np.frombuffer(other, "<f4")).max())


def _episodes(broker: PromptBroker) -> list[tuple[str, str, int, str]]:
    """Return what the events say of their episodes, without the model and its confidence."""
    events = (msgspec.json.decode(sent.value or b"") for sent in broker.sent if sent.topic.startswith("faults."))
    return [(event["event_id"], event["state"], event["sequence"], event["fault_class"]) for event in events]


class Renamed:
    """An engine under another id."""

    def __init__(self, engine: Engine, model_id: str) -> None:
        self.model_id, self.memory_units = model_id, engine.memory_units
        self.classify, self.follow, self.is_ood = engine.classify, engine.follow, engine.is_ood
