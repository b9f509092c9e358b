"""Confirmed publishing: in order, no record dropped, and none counted before its acknowledgement."""

from __future__ import annotations

import asyncio

import pytest
import structlog
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaTimeoutError,
    NotLeaderForPartitionError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    TopicAuthorizationFailedError,
)

from stream.contract import Outgoing
from stream.kafka.producing.publisher import Publisher
from tests.stream.doubles import FullBuffer, PromptBroker, RefusingBroker, SilentBroker, settle, until


def outgoing(*names: str, topic: str = "faults.lg") -> list[Outgoing]:
    return [Outgoing(topic, b"line", name.encode(), []) for name in names]


def values(broker: PromptBroker) -> list[str]:
    return [(sent.value or b"").decode() for sent in broker.sent]


def publisher(broker: PromptBroker, troubles: list[bool] | None = None) -> Publisher:
    return Publisher(lambda: broker, retry_s=0.0, on_degraded=(troubles if troubles is not None else []).append)


async def test_records_are_sent_in_order_before_any_is_confirmed() -> None:
    broker = SilentBroker()
    records = outgoing("a", "b", "c")
    sent = await publisher(broker).send(records)
    assert values(broker) == ["a", "b", "c"]
    assert len(sent) == 3
    assert broker.confirmed() == []


async def test_confirming_waits_for_the_acknowledgement_of_every_record() -> None:
    broker = SilentBroker()
    ours = publisher(broker)
    publishing = asyncio.ensure_future(ours.publish(outgoing("a", "b")))
    await settle()
    broker.sent[1].answer.set_result(None)
    await settle()
    assert not publishing.done()
    broker.confirm()
    await publishing


@pytest.mark.parametrize("error", [TopicAuthorizationFailedError, NotLeaderForPartitionError, KafkaTimeoutError])
async def test_what_the_broker_refuses_is_sent_again_until_it_is_confirmed(error: type) -> None:
    broker, troubles = RefusingBroker(3, error), list[bool]()
    ours = publisher(broker, troubles)
    await ours.publish(outgoing("a"))
    assert values(broker) == ["a"] * 4
    assert len(broker.confirmed()) == 1
    assert (troubles[0], troubles[-1], ours.waiting) == (True, False, 0)


async def test_every_refused_record_of_a_batch_is_confirmed_in_the_end() -> None:
    broker = RefusingBroker(2)
    await publisher(broker).publish(outgoing("a", "b", "c"))
    assert sorted((sent.value or b"").decode() for sent in broker.confirmed()) == ["a", "b", "c"]


async def test_what_cannot_even_be_buffered_is_not_overtaken() -> None:
    broker = FullBuffer([b"b"], KafkaTimeoutError())
    ours = publisher(broker)
    records = outgoing("a", "b", "c")
    sent = await ours.send(records)
    assert values(broker) == ["a"]
    broker.refuse.clear()
    await ours.confirm(records, sent)
    assert values(broker) == ["a", "b", "c"]


async def test_a_later_batch_does_not_overtake_one_that_could_not_be_buffered() -> None:
    broker = FullBuffer([b"onset"], KafkaTimeoutError())
    ours = publisher(broker)
    first, second = outgoing("onset"), outgoing("clear")
    unsent = await ours.send(first)
    later = asyncio.ensure_future(ours.send(second))
    await settle()
    assert values(broker) == []
    broker.refuse.clear()
    await ours.confirm(first, unsent)
    await ours.confirm(second, await later)
    assert values(broker) == ["onset", "clear"]


async def test_states_of_an_earlier_batch_are_written_while_a_later_batch_waits_to_be_buffered() -> None:
    # Otherwise the confirming stage, which must clear the degraded state, would wait for itself.
    broker = FullBuffer([b"event"], KafkaTimeoutError())
    ours = publisher(broker)
    await ours.send(outgoing("event"))
    await asyncio.wait_for(ours.publish(outgoing("state", topic="line-states")), 5)
    assert values(broker) == ["state"]


async def test_a_batch_that_is_being_tried_again_holds_back_later_batches() -> None:
    broker = RefusingBroker(1_000_000)
    ours = publisher(broker)
    failing = asyncio.ensure_future(ours.publish(outgoing("a")))
    await until(lambda: ours.waiting == 1)
    later = asyncio.ensure_future(ours.send(outgoing("b")))
    await settle()
    assert "b" not in values(broker)
    broker.times = 0
    await failing
    await later
    assert values(broker)[-1] == "b"


@pytest.mark.parametrize("error", [ProducerFenced, OutOfOrderSequenceNumber, NotLeaderForPartitionError])
async def test_a_producer_that_gave_up_a_record_is_replaced_once(error: type) -> None:
    broken, fresh = RefusingBroker(1_000_000, error), PromptBroker()
    producers: list[PromptBroker] = [broken]

    async def renew() -> None:
        producers.append(fresh)

    ours = Publisher(lambda: producers[-1], retry_s=0.0, renew=renew)
    await ours.publish(outgoing("a", "b", "c"))
    assert producers == [broken, fresh]
    assert values(fresh) == ["a", "b", "c"]


async def test_a_record_without_an_answer_in_time_is_sent_again_by_a_new_producer() -> None:
    silent, fresh = SilentBroker(), PromptBroker()
    producers: list[PromptBroker] = [silent]

    async def renew() -> None:
        producers.append(fresh)

    ours = Publisher(lambda: producers[-1], retry_s=0.0, timeout_s=0.01, renew=renew)
    await ours.publish(outgoing("a", "b"))
    assert values(fresh) == ["a", "b"]


async def test_a_producer_that_cannot_be_replaced_yet_is_tried_again() -> None:
    broken, fresh = RefusingBroker(1_000_000, OutOfOrderSequenceNumber), PromptBroker()
    producers: list[PromptBroker] = [broken]
    unreachable = iter([True, True, False])

    async def renew() -> None:
        if next(unreachable):
            raise KafkaConnectionError("no broker")
        producers.append(fresh)

    await Publisher(lambda: producers[-1], retry_s=0.0, renew=renew).publish(outgoing("a"))
    assert values(fresh) == ["a"]


async def test_nothing_to_publish_is_nothing_to_wait_for() -> None:
    broker = SilentBroker()
    await publisher(broker).publish([])
    assert broker.sent == []


async def test_a_later_batch_waits_until_all_of_a_refused_batch_is_confirmed() -> None:
    broker = SilentBroker()
    ours = publisher(broker)
    first, second = outgoing("onset", "clear"), outgoing("onset-2")
    failing = asyncio.ensure_future(ours.publish(first))
    await settle()
    for sent in broker.sent:
        sent.answer.set_exception(KafkaTimeoutError())
    await until(lambda: len(broker.sent) == 3)
    later = asyncio.ensure_future(ours.send(second))
    await settle()
    broker.confirm()
    await until(lambda: len(broker.sent) >= 4)
    await settle()
    broker.confirm()
    await failing
    await later
    assert values(broker) == ["onset", "clear", "onset", "clear", "onset-2"]


async def test_a_publish_that_fails_is_logged_with_what_finds_the_record_again() -> None:
    event = Outgoing("faults.lg", b"feeder-1", b"{}", [("ce_id", b"5c8f1d")])
    letter = Outgoing("dlq", b"\x1b[2J\xff" * 9999, b"", [])
    with structlog.testing.capture_logs() as logged:
        await publisher(RefusingBroker(1)).publish([event])
        await publisher(RefusingBroker(1)).publish([letter])
    told = [line for line in logged if line["event"] == "publish-failed"]
    assert (told[0]["topic"], told[0]["key"], told[0]["event_id"]) == ("faults.lg", "feeder-1", "5c8f1d")
    assert told[1]["key"].isprintable()
    assert len(told[1]["key"]) < 2000
