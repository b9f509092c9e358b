"""Puts a replay together: file → source → producer, with signals, progress and the final count."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import typer
from aiokafka import AIOKafkaProducer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from domains.powerline.class_data import CLASS_DATA
from domains.powerline.fan_out import ManyLines
from domains.powerline.replay import record_kind
from domains.powerline.waveforms import ReadOptions
from model.spec import SignalSpec, load_spec
from stream.errors import RecordingError, ReplayError, SettingsError, TopicError
from stream.kafka.admin import admin_client, describe_topics
from stream.kafka.clients import check_reachable, producer_kwargs
from stream.kafka.errors import broker_errors
from stream.kafka.lag import GroupLag
from stream.kafka.topics import require_existing
from stream.recordings.replay import ReplayCount, Replayer, ReplayOptions
from stream.recordings.sources import RECORDING, RecordingSource, Source, SourceOptions, kind_of, open_source
from stream.settings import Settings
from stream.telemetry.logs import configure_logs

PRODUCER_BATCH_BYTES = 256 * 1024
"""A replay sends many records at once; aiokafka's 16 KiB would hold five of ours."""
BAR_EVERY_S = 0.2
LINE_EVERY_S = 5.0


def parse_pace(text: str) -> float | None:
    """Speed of a pace: None for max.

    Raises:
        SettingsError: neither a positive number nor max.
    """
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not (math.isfinite(speed) and speed > 0):
        raise SettingsError(f"--pace {text}: give a number above 0 (1 is as recorded), or max")
    return speed


def open_replay(
    path: Path, spec: SignalSpec, options: SourceOptions | None = None, read: ReadOptions | None = None
) -> Source:
    """What a file is to send, as many lines where that is asked for.

    Args:
        path: a recording, ``classData.csv``, COMTRADE, CSV or a Parquet table.
        spec: of the windows that are made of records, and that are made many lines.
        options: which part of it and how.
        read: what is known of a record of waveforms better than the file tells.

    Raises:
        RecordingError: the file cannot be replayed, or not as many lines.
    """
    options = options or SourceOptions()
    # The header of classData.csv is known, so it comes before tables of whatever columns.
    kinds = (RECORDING, CLASS_DATA, record_kind(spec, read))
    if options.lines is None or kind_of(_pair(path), kinds) is CLASS_DATA:
        return open_source(_pair(path), options, kinds)
    return ManyLines(open_source(_pair(path), options, kinds), options.lines, spec)


def _pair(path: Path) -> Path:
    """A COMTRADE pair is named by either file, or by neither's ending."""
    if path.is_file():
        return path
    return next((there for end in (".cfg", ".CFG", ".cff", ".CFF") if (there := Path(f"{path}{end}")).is_file()), path)


def replay_file(
    settings: Settings,
    path: Path,
    source_options: SourceOptions,
    options: ReplayOptions,
    *,
    read: ReadOptions | None = None,
    as_json: bool = False,
) -> None:
    """Replay a file and print the count on standard output.

    Raises:
        RecordingError: the file cannot be replayed.
        BrokerError: no broker, no right, or no such topic.
        ReplayError: something was not sent or not confirmed; the count is printed before.
    """
    configure_logs(settings)
    source = open_replay(path, load_spec(settings.spec), source_options, read)
    began_s = time.monotonic()
    count = asyncio.run(_replay(settings, source, options))
    _print_count(count, time.monotonic() - began_s, as_json=as_json)
    if count.failure is not None:
        raise ReplayError(count.failure)
    if not count.complete:
        raise ReplayError(f"{count.records - count.confirmed_records} of {count.records} records were not confirmed")


async def _replay(settings: Settings, source: Source, options: ReplayOptions) -> ReplayCount:
    topics = _topics(source, options)
    broker = await check_reachable(settings)
    await _require(settings, topics, create=broker.embedded)
    if options.keep_partitions:
        await _require_partitions(settings, source, options)
    producer = AIOKafkaProducer(**{**producer_kwargs(settings), "max_batch_size": PRODUCER_BATCH_BYTES})
    with broker_errors(settings):
        await producer.start()
    try:
        async with _lag(settings, topics, options) as lag:
            replayer = Replayer(source, producer, options, lag=lag)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, replayer.stop)
            progress = asyncio.create_task(_show(replayer, None if options.loop else source.total))
            try:
                return await replayer.run()
            finally:
                progress.cancel()
                await asyncio.gather(progress, return_exceptions=True)
    finally:
        # What is still unconfirmed after the replayer gave up must not keep the process.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await producer.stop()


def _topics(source: Source, options: ReplayOptions) -> list[str]:
    if options.topic is not None:
        return [options.topic]
    return sorted(source.topics) or [options.default_topic]


async def _require(settings: Settings, topics: list[str], *, create: bool) -> None:
    async with admin_client(settings) as admin:
        await require_existing(
            admin,
            settings,
            topics,
            create=create,
            operations=("Write", "Describe"),
            alternative="choose one with --topic",
        )


async def _require_partitions(settings: Settings, source: Source, options: ReplayOptions) -> None:
    if not isinstance(source, RecordingSource):
        raise RecordingError("--keep-partitions is for a recording as it is: only that tells where records were")
    wanted = dict(source.partitions)
    if options.topic is not None:
        wanted = {options.topic: max(wanted.values(), default=0)}
    async with admin_client(settings) as admin:
        seen = await describe_topics(admin, sorted(wanted))
    for name, count in wanted.items():
        there = len(seen[name]["partitions"])
        if there < count:
            raise TopicError(f"{name} has {there} partitions, the recording {count}: choose another with --topic")


@contextlib.asynccontextmanager
async def _lag(
    settings: Settings, topics: list[str], options: ReplayOptions
) -> AsyncIterator[Callable[[], Awaitable[int]] | None]:
    if options.max_lag is None:
        yield None
        return
    with broker_errors(settings):
        async with GroupLag(settings, settings.group, topics) as lag:
            yield lag.measure


async def _show(replayer: Replayer, total: int | None) -> None:
    """A bar on a terminal, else a line from time to time; on standard error."""
    console = Console(stderr=True)
    if not console.is_terminal:
        while True:
            await asyncio.sleep(LINE_EVERY_S)
            print(_in_words(replayer.count, total), file=sys.stderr, flush=True)
    with Progress(
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("replay", total=total, note="")
        while True:
            bar.update(task, completed=replayer.count.confirmed_records, note=_in_words(replayer.count, None))
            await asyncio.sleep(BAR_EVERY_S)


def _in_words(count: ReplayCount, total: int | None) -> str:
    of = "" if total is None else f" of {total:,}"
    late = f", {count.late_s:.1f} s behind its pace" if count.late_s > 1 else ""
    lag = f", workers' lag {count.lag:,}" if count.lag else ""
    return f"{count.confirmed_records:,}{of} records, {count.confirmed_windows:,} windows confirmed{lag}{late}"


def _print_count(count: ReplayCount, seconds: float, *, as_json: bool) -> None:
    kept = count.punctuality
    if as_json:
        body = {
            "records": count.records,
            "windows": count.windows,
            "confirmed_records": count.confirmed_records,
            "confirmed_windows": count.confirmed_windows,
            "passes": count.passes,
            "seconds": round(seconds, 3),
        }
        if kept is not None:
            late = {f"late_p{percent}_ms": kept.quantile_ms(percent / 100) for percent in (50, 99)}
            body |= {**late, "drift_ms": round(kept.drift_ms, 3)}
        typer.echo(json.dumps(body))
        return
    confirmed = "all confirmed" if count.complete else f"{count.confirmed_records:,} confirmed"
    rate = count.confirmed_windows / seconds if seconds > 0 else 0.0
    typer.echo(
        f"sent {count.records:,} records with {count.windows:,} windows in {seconds:.1f} s "
        f"({rate:,.0f} windows/s); {confirmed}"
    )
    if kept is not None and count.records:
        typer.echo(
            f"pace kept: half within {kept.quantile_ms(0.5):.2f} ms, 99 % within {kept.quantile_ms(0.99):.2f} ms of "
            f"their time, drift {kept.drift_ms:+.2f} ms"
        )
