"""Read dead letters, and resend them once their cause is fixed."""

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
"""Maximum number of unconfirmed records at any time."""


@dataclass(frozen=True)
class LetterCount:
    """Dead letters by reason, the most frequent reason first."""

    reasons: list[ReasonCount]
    unreadable: int
    """Records on the topic that state no cause; they are skipped."""


@dataclass
class RedriveCount:
    """Numbers of letters that were resent and that were not."""

    sent: int = 0
    again: int = 0
    """Number of letters that were not resent because they were resent before and failed again."""
    gone: int = 0
    """Number of letters that were not resent because their value was not copied and the original record is deleted."""
    unreadable: int = 0
    """Records on the topic that state no cause; they are skipped."""


async def read_letters(settings: Settings, start: StartAt, wanted: LetterFilter) -> AsyncGenerator[Letter | None]:
    """Yield the matching dead letters up to the topic's current end, and None for each record that states no cause."""
    async with (
        TopicReader(settings, [settings.topic_dead_letters], start) as reader,
        aclosing(reader.read_to_end()) as parts,
    ):
        async for part in parts:
            for record in itertools.chain(*part.values()):
                # An embedded broker does not find offsets by time.
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
    """Count the matching dead letters by reason.

    Raises:
        BrokerError: there is no broker, no right, or no such topic.
    """
    async with aclosing(read_letters(settings, start, wanted)) as found:
        letters = [letter async for letter in found]
    return LetterCount(count_reasons(letter for letter in letters if letter is not None), letters.count(None))


async def find_letter(settings: Settings, partition: int, offset: int) -> Letter:
    """Return the dead letter at a position of its topic.

    Raises:
        BrokerError: there is no broker, no right, or no such topic.
        ContractError: the record there states no cause.
        TopicError: there is no record at the position.
    """
    await check_reachable(settings)
    record = await read_record(settings, settings.topic_dead_letters, partition, offset)
    if record is None:
        raise TopicError(
            f"no dead letter at {partition}:{offset}: faultline dlq list prints the positions of those that exist"
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
    """Resend letters to their original topics; return their numbers once all are confirmed.

    Args:
        settings: broker, credentials and the dead-letter topic.
        start: start of reading on every partition.
        wanted: filter of the letters.
        topic: topic to send to instead of the original one.
        also_again: True includes letters that were resent before and failed again.
        dry_run: True counts the letters and sends none.

    Raises:
        BrokerError: there is no broker, no right, or no such topic.
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
    """Return the value as received; one that was too large to copy is read from its original record."""
    cause = letter.cause
    if not cause.by_reference:
        return letter.value
    origin = await read_record(settings, cause.topic, cause.partition, cause.offset)
    value: bytes | None = None if origin is None else origin.value
    return value


async def _send(producer: Any, letter: Letter, value: bytes | None, topic: str) -> Any:
    # The record gets the current time, since a record older than the topic's retention would be deleted at once.
    return await send_any(producer, topic, value, letter.key, headers=redriven_headers(letter), timestamp_ms=None)
