"""Puts a recording together: topics → recorder → file, with signals, progress and the exact count."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from stream.errors import RecordingError, SettingsError
from stream.kafka.errors import broker_errors
from stream.kafka.reader import StartAt, TopicReader
from stream.recordings.recorder import RecordBounds, RecordCount, Recorder
from stream.recordings.recording import RecordingWriter, repair
from stream.settings import Settings
from stream.telemetry.logs import configure_logs

SHOW_EVERY_S = 0.5
LINE_EVERY_S = 5.0
UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class RecordOptions:
    """What to record, where to, from where and up to where."""

    topics: tuple[str, ...]
    path: Path
    start: StartAt
    bounds: RecordBounds
    overwrite: bool = False


def parse_end(text: str | None) -> int | None:
    """Unix ms of an ISO time (of this machine's time zone where it names none).

    Raises:
        SettingsError: it is none.
    """
    if text is None:
        return None
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise SettingsError(f"--to {text}: give an ISO time, e.g. 2026-01-31T12:00:00") from None


def record_topics(settings: Settings, options: RecordOptions, *, as_json: bool = False) -> None:
    """Record, and print the count on standard output.

    Raises:
        RecordingError: the file exists, cannot be written, or fewer records came than were asked for.
        BrokerError: no broker, no right, or no such topic.
    """
    configure_logs(settings)
    if options.path.exists() and not options.overwrite:
        raise RecordingError(f"{options.path} exists: give --overwrite, or another name")
    began_s = time.monotonic()
    count, size = asyncio.run(_record(settings, options))
    _print_count(options.path, count, size, time.monotonic() - began_s, as_json=as_json)
    wanted = options.bounds.count
    if wanted is not None and count.records < wanted and count.ended_by != "stop":
        raise RecordingError(f"{count.records:,} of {wanted:,} records came before the recording ended")


async def _record(settings: Settings, options: RecordOptions) -> tuple[RecordCount, int]:
    with broker_errors(settings):
        async with TopicReader(settings, options.topics, options.start) as reader:
            with RecordingWriter(options.path, keep=True) as writer:
                recorder = Recorder(reader, writer, options.bounds)
                for number in (signal.SIGINT, signal.SIGTERM):
                    asyncio.get_running_loop().add_signal_handler(number, recorder.stop)
                names = ", ".join(reader.topics)
                _say(f"recording {names} ({reader.partitions} partitions) to {options.path}; Ctrl-C ends it")
                progress = asyncio.create_task(_show(recorder.count, writer))
                try:
                    await recorder.run()
                finally:
                    progress.cancel()
                    await asyncio.gather(progress, return_exceptions=True)
            return recorder.count, writer.size


def repair_recording(path: Path, *, as_json: bool = False) -> None:
    """Make plain Parquet of a recording that was cut off, and say how many records it has.

    Raises:
        RecordingError: it is none, or cannot be written.
    """
    recording = repair(path)
    if as_json:
        typer.echo(json.dumps({"path": str(path), "records": recording.count}))
    else:
        typer.echo(f"{path} is whole: {recording.count:,} records")


async def _show(count: RecordCount, writer: RecordingWriter) -> None:
    """One line that changes on a terminal, else a line from time to time; on standard error."""
    console = Console(stderr=True)
    before, before_s = 0, time.monotonic()
    pause_s = SHOW_EVERY_S if console.is_terminal else LINE_EVERY_S
    live = Live(console=console, transient=True, refresh_per_second=4) if console.is_terminal else None
    with live or contextlib.nullcontext():
        while True:
            await asyncio.sleep(pause_s)
            now_s = time.monotonic()
            rate = (count.records - before) / (now_s - before_s)
            before, before_s = count.records, now_s
            text = f"{_in_words(count)}, {rate:,.0f} records/s; file {size_text(writer.size)}"
            if live is not None:
                live.update(Text(text))
            else:
                _say(text)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _in_words(count: RecordCount) -> str:
    windows = f" with {count.windows:,} windows" if count.windows else ""
    return f"{count.records:,} records{windows}, {size_text(count.bytes)}"


def size_text(size: float) -> str:
    """A size for people, in powers of 1000.

    Example:
        >>> size_text(999), size_text(76_800_000)
        ('999 B', '76.8 MB')
    """
    for unit in UNITS[:-1]:
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} {UNITS[-1]}"


def _print_count(path: Path, count: RecordCount, size: int, seconds: float, *, as_json: bool) -> None:
    if as_json:
        body = {
            "path": str(path),
            "records": count.records,
            "windows": count.windows,
            "bytes": count.bytes,
            "file_bytes": size,
            "deleted_before_read": count.deleted,
            "seconds": round(seconds, 3),
            "ended_by": count.ended_by,
            "topics": {name: topic.records for name, topic in count.topics.items()},
        }
        typer.echo(json.dumps(body))
        return
    typer.echo(f"recorded {_in_words(count)} in {seconds:.1f} s to {path} ({size_text(size)})")
    _print_topics({name: topic.records for name, topic in count.topics.items()})
    if count.deleted:
        typer.echo(f"{count.deleted:,} records were deleted by the broker's retention before they could be read")


def _print_topics(records: dict[str, int]) -> None:
    if len(records) > 1:
        for name, number in records.items():
            typer.echo(f"  {name}: {number:,}")
