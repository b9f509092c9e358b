"""Looks into the dead letters, and sends them again once their cause is gone."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from aiokafka import AIOKafkaProducer

from stream.dead_letters.letters import (
    Letter,
    LetterFilter,
    ReasonCount,
    count_reasons,
    dump,
    parse_place,
    read_letter,
    redriven_headers,
    time_text,
)
from stream.errors import ContractError, ReplayError, TopicError
from stream.kafka.clients import check_reachable, producer_kwargs
from stream.kafka.errors import broker_errors
from stream.kafka.raw_producer import send_any
from stream.kafka.reader import StartAt, TopicReader, read_record
from stream.settings import Settings
from stream.telemetry.logs import configure_logs

IN_FLIGHT = 500
"""Unconfirmed records at any time."""


async def letters(settings: Settings, start: StartAt, wanted: LetterFilter) -> AsyncGenerator[Letter]:
    """Dead letters that are there now; records that are none are left out, with a word on standard error."""
    strange = 0
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
                    strange += 1
                    continue
                if wanted.wants(letter):
                    yield letter
    if strange:
        typer.echo(f"{strange} records of {settings.topic_dead_letters} do not tell their cause: left out", err=True)


# list -----------------------------------------------------------------------------------------------------------------


def list_letters(settings: Settings, start: StartAt, wanted: LetterFilter, *, as_json: bool) -> None:
    """Print the letters by reason, the commonest first."""
    configure_logs(settings)
    counts = asyncio.run(_counted(settings, start, wanted))
    if as_json:
        for count in counts:
            typer.echo(json.dumps(count.as_dict()))
        return
    if not counts:
        typer.echo("no dead letters")
        return
    for count in counts:
        named = ", ".join(f"{source} ({times})" for source, times in count.most())
        more = len(count.sources) - len(count.most())
        typer.echo(
            f"{count.letters:>9,} {count.reason:<13} last {time_text(count.last_ms)}, e.g. {count.example}:"
            f" {count.message}"
        )
        typer.echo(f"{'':>9} from {named}" + (f" and {more} more" if more else ""))


async def _counted(settings: Settings, start: StartAt, wanted: LetterFilter) -> list[ReasonCount]:
    async with aclosing(letters(settings, start, wanted)) as found:
        return count_reasons([letter async for letter in found])


# show -----------------------------------------------------------------------------------------------------------------


def show_letter(settings: Settings, place: str, out: Path | None) -> None:
    """Print one letter: cause, origin, headers and the first bytes; its value as a file where ``out`` says so."""
    configure_logs(settings)
    partition, offset = parse_place(place)
    letter = asyncio.run(_read_one(settings, partition, offset))
    cause = letter.cause
    typer.echo(f"{cause.reason}: {cause.message}")
    typer.echo(f"from {cause.topic} {cause.partition}:{cause.offset}, sent {time_text(cause.timestamp_ms)}")
    typer.echo(f"key {letter.source}; died {time_text(letter.timestamp_ms)}{'; sent again before' * letter.again}")
    for name, text in letter.headers:
        typer.echo(f"header {name!r}: {'null' if text is None else repr(text)[:200]}")
    if letter.value is None:
        typer.echo("value stands at its origin only" if cause.by_reference else "value null")
    else:
        typer.echo(f"value of {len(letter.value)} bytes")
        typer.echo(dump(letter.value))
    if out is not None:
        try:
            out.write_bytes(letter.value or b"")
        except OSError as error:
            raise ReplayError(f"{out}: cannot be written: {error.strerror}") from error


async def _read_one(settings: Settings, partition: int, offset: int) -> Letter:
    await check_reachable(settings)
    record = await read_record(settings, settings.topic_dead_letters, partition, offset)
    if record is None:
        raise TopicError(
            f"no dead letter at {partition}:{offset} (any more): faultline dlq list prints places that there are"
        )
    return read_letter(record)


# redrive --------------------------------------------------------------------------------------------------------------


@dataclass
class Redriven:
    """What became of the letters."""

    sent: int = 0
    again: int = 0
    """Left alone: they had been sent again before, and died again."""
    gone: int = 0
    """Left alone: their value stood at their origin only, and is deleted."""


def redrive(
    settings: Settings,
    start: StartAt,
    wanted: LetterFilter,
    *,
    topic: str | None,
    also_again: bool,
    dry_run: bool,
) -> None:
    """Send letters to where they came from, or to ``topic``, and print how many.

    Raises:
        BrokerError: no broker, no right, or no such topic.
    """
    configure_logs(settings)
    count = asyncio.run(_redrive(settings, start, wanted, topic, also_again, dry_run))
    typer.echo(f"{count.sent} {'would be sent' if dry_run else 'sent again and confirmed'}")
    if count.again:
        typer.echo(f"{count.again} left alone: sent again before and dead again; --again sends them once more")
    if count.gone:
        typer.echo(f"{count.gone} left alone: too large to copy, and not at their origin any more")


async def _redrive(
    settings: Settings, start: StartAt, wanted: LetterFilter, topic: str | None, also_again: bool, dry_run: bool
) -> Redriven:
    count = Redriven()
    with broker_errors(settings):
        async with (
            AIOKafkaProducer(**producer_kwargs(settings)) as producer,
            aclosing(letters(settings, start, wanted)) as found,
        ):
            waiting: list[Any] = []
            async for letter in found:
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
    """Value of the record as received; of one too large to copy it is fetched where it stood."""
    cause = letter.cause
    if not cause.by_reference:
        return letter.value
    origin = await read_record(settings, cause.topic, cause.partition, cause.offset)
    value: bytes | None = None if origin is None else origin.value
    return value


async def _send(producer: Any, letter: Letter, value: bytes | None, topic: str) -> Any:
    # Now, not its old time: what is older than the topic keeps would be deleted at once.
    return await send_any(producer, topic, value, letter.key, headers=redriven_headers(letter), timestamp_ms=None)
