"""Read dead letters, and send them again once their cause is gone."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer

from stream.dead_letters.letters import (
    Letter,
    LetterFilter,
    ReasonCount,
    count_reasons,
    read_letter,
    redriven_headers,
)
from stream.errors import ContractError, TopicError
from stream.kafka.clients import check_reachable, producer_kwargs
from stream.kafka.errors import broker_errors
from stream.kafka.producing.raw_producer import send_any
from stream.kafka.reading.reader import StartAt, TopicReader, read_record
from stream.settings import Settings

IN_FLIGHT = 500
"""Unconfirmed records at any time."""


@dataclass(frozen=True)
class LetterCount:
    """Dead letters by reason, the commonest first."""

    reasons: list[ReasonCount]
    unreadable: int
    """Records on the topic that do not state their cause: left out."""


@dataclass
class RedriveCount:
    """Letters sent again, and those left alone."""

    sent: int = 0
    again: int = 0
    """Left alone: they had been sent again before, and died again."""
    gone: int = 0
    """Left alone: their value stood at their origin only, and is deleted."""
    unreadable: int = 0
    """Records on the topic that do not state their cause: left out."""


async def read_letters(settings: Settings, start: StartAt, wanted: LetterFilter) -> AsyncGenerator[Letter | None]:
    """Yield the wanted dead letters that are there now, and None for each record that does not state its cause."""
    async with (
        TopicReader(settings, [settings.topic_dead_letters], start) as reader,
        aclosing(reader.read_to_end()) as parts,
    ):
        async for part in parts:
            for record in itertools.chain(*part.values()):
                # An embedded broker looks up no times.
                if start.at_ms is not None and record.timestamp < start.at_ms:
                    continue
                try:
                    letter = read_letter(record)
                except ContractError:
                    yield None
                    continue
                if wanted.wants(letter):
                    yield letter


async def count_letters(settings: Settings, start: StartAt, wanted: LetterFilter) -> LetterCount:
    """Count the wanted dead letters by reason.

    Raises:
        BrokerError: no broker, no right, or no such topic.
    """
    async with aclosing(read_letters(settings, start, wanted)) as found:
        letters = [letter async for letter in found]
    return LetterCount(count_reasons(letter for letter in letters if letter is not None), letters.count(None))


async def find_letter(settings: Settings, partition: int, offset: int) -> Letter:
    """Return the dead letter at a place of its topic.

    Raises:
        BrokerError: no broker, no right, or no such topic.
        ContractError: the record there does not state its cause.
        TopicError: nothing is there, or not any more.
    """
    await check_reachable(settings)
    record = await read_record(settings, settings.topic_dead_letters, partition, offset)
    if record is None:
        raise TopicError(
            f"no dead letter at {partition}:{offset} (any more): faultline dlq list prints places that there are"
        )
    return read_letter(record)


async def redrive(
    settings: Settings,
    start: StartAt,
    wanted: LetterFilter,
    *,
    topic: str | None = None,
    also_again: bool = False,
    dry_run: bool = False,
) -> RedriveCount:
    """Send letters to where they came from, and return how many once all are confirmed.

    Args:
        settings: broker, logins and the topic of dead letters.
        start: where to begin on every partition.
        wanted: which letters.
        topic: send there instead.
        also_again: those too that were sent again before and died again.
        dry_run: count, send nothing.

    Raises:
        BrokerError: no broker, no right, or no such topic.
    """
    count = RedriveCount()
    with broker_errors(settings):
        async with (
            AIOKafkaProducer(**producer_kwargs(settings)) as producer,
            aclosing(read_letters(settings, start, wanted)) as found,
        ):
            waiting: list[Any] = []
            async for letter in found:
                if letter is None:
                    count.unreadable += 1
                    continue
                if letter.again and not also_again:
                    count.again += 1
                    continue
                value = await _value(settings, letter)
                if value is None and letter.cause.by_reference:
                    count.gone += 1
                    continue
                count.sent += 1
                if not dry_run:
                    waiting.append(await _send(producer, letter, value, topic or letter.cause.topic))
                if len(waiting) >= IN_FLIGHT:
                    await asyncio.gather(*waiting)
                    waiting.clear()
            await asyncio.gather(*waiting)
    return count


async def _value(settings: Settings, letter: Letter) -> bytes | None:
    """Return the value of the record as received; of one too large to copy it is fetched where it stood."""
    cause = letter.cause
    if not cause.by_reference:
        return letter.value
    origin = await read_record(settings, cause.topic, cause.partition, cause.offset)
    value: bytes | None = None if origin is None else origin.value
    return value


async def _send(producer: Any, letter: Letter, value: bytes | None, topic: str) -> Any:
    # Now, not its old time: what is older than the topic keeps would be deleted at once.
    return await send_any(producer, topic, value, letter.key, headers=redriven_headers(letter), timestamp_ms=None)
