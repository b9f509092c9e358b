"""Define ``faultline record``, which writes the records of topics to a file."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faultline.output import print_json, show_progress

if TYPE_CHECKING:
    from stream.recordings.recorder import RecordCount, Recorder, RecordOptions
    from stream.settings import Settings

UNITS = ("B", "kB", "MB", "GB", "TB")


def record(
    topics: Annotated[
        list[str] | None,
        typer.Argument(help="Topics, or patterns such as 'faults.*' [default: sensor-windows].", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write (Parquet).")] = Path("recording.parquet"),
    seconds: Annotated[
        float | None, typer.Option(help="Stop after this many seconds.", min=0.0, show_default=False)
    ] = None,
    count: Annotated[int | None, typer.Option(help="Stop after this many records.", min=1, show_default=False)] = None,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="Stop at the present end of the topics; implies --from earliest.")
    ] = False,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", help="Start at: earliest, latest, or an ISO time [default: latest].", show_default=False
        ),
    ] = None,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="The same as --from earliest.")] = False,
    to: Annotated[
        str | None, typer.Option(help="Stop before this ISO time, which may be in the future.", show_default=False)
    ] = None,
    flush_seconds: Annotated[
        float, typer.Option(help="Write records to disk after this many seconds at the latest.", min=0.1)
    ] = 10.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    repair: Annotated[
        Path | None,
        typer.Option(
            help="Convert the recording of a killed `faultline record` to plain Parquet, and exit.", show_default=False
        ),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option(help="Bootstrap servers, host:port[,host:port…] [default: FAULTLINE_BROKER].", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the final count as one JSON object.")] = False,
) -> None:
    """Record topics byte for byte: keys, values, headers, partitions, offsets and times, nulls included.

    The command joins no consumer group, so other readers are not affected. Ctrl-C stops the recording and prints the
    exact count. `faultline replay` also reads the recording of a killed command, up to its last whole batch (8 MiB, or
    `--flush-seconds`); `--repair` converts it to plain Parquet for other tools.

    Examples:
    - `faultline record --seconds 60 --out minute.parquet`
    - `faultline record sensor-windows 'faults.*' --from 2026-01-31T12:00 --to 2026-01-31T12:05 --out storm.parquet`
    - `faultline record --repair killed.parquet`
    """
    from stream.errors import RecordingError, SettingsError
    from stream.kafka.reading.reader import parse_start
    from stream.recordings.recorder import RecordBounds, RecordOptions
    from stream.settings import load_settings
    from stream.telemetry.logs import configure_logs

    if repair is not None:
        _repair(repair, as_json=as_json)
        return
    if from_beginning and start is not None:
        raise SettingsError("--from-beginning and --from exclude each other: give one of them")
    begin = parse_start(start or ("earliest" if from_beginning or until_end else "latest"))
    settings = load_settings(broker=broker)
    bounds = RecordBounds(
        start_ms=begin.at_ms,
        end_ms=parse_end(to),
        until_end=until_end,
        count=count,
        seconds=seconds,
        flush_s=flush_seconds,
    )
    configure_logs(settings)
    options = RecordOptions(tuple(topics or [settings.topic_windows]), out, begin, bounds, overwrite)
    began_s = time.monotonic()
    recorded, size = asyncio.run(_record(settings, options))
    _print_count(out, recorded, size, time.monotonic() - began_s, as_json=as_json)
    if count is not None and recorded.records < count and recorded.ended_by != "stop":
        raise RecordingError(f"the recording ended after {recorded.records:,} of {count:,} records")


def parse_end(text: str | None) -> int | None:
    """Return an ISO time as Unix ms; a time without a zone is in this machine's time zone.

    Raises:
        SettingsError: if ``text`` is not an ISO time.
    """
    from stream.errors import SettingsError

    if text is None:
        return None
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise SettingsError(f"--to {text}: give an ISO time, e.g. 2026-01-31T12:00:00") from None


async def _record(settings: Settings, options: RecordOptions) -> tuple[RecordCount, int]:
    """Record until a bound or a signal; return the count and the size of the finished file in bytes."""
    from stream.recordings.recorder import open_recorder

    async with open_recorder(settings, options) as recorder:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, recorder.stop)
        names, partitions = ", ".join(recorder.reader.topics), recorder.reader.partitions
        typer.echo(f"recording {names} ({partitions} partitions) to {options.path}; Ctrl-C stops it", err=True)
        async with show_progress(_progress_text(recorder), lambda: recorder.count.records, options.bounds.count):
            await recorder.run()
    return recorder.count, recorder.sink.size


def _progress_text(recorder: Recorder) -> Callable[[], str]:
    before, before_s = 0, time.monotonic()

    def text() -> str:
        nonlocal before, before_s
        now, now_s = recorder.count.records, time.monotonic()
        rate = (now - before) / (now_s - before_s)
        before, before_s = now, now_s
        return f"{_in_words(recorder.count)}, {rate:,.0f} records/s; file {size_text(recorder.sink.size)}"

    return text


def _repair(path: Path, *, as_json: bool) -> None:
    from stream.recordings.recording import repair

    recording = repair(path)
    if as_json:
        print_json({"path": str(path), "records": recording.count})
    else:
        typer.echo(f"{path} is plain Parquet: {recording.count:,} records")


def _in_words(count: RecordCount) -> str:
    windows = f" with {count.windows:,} windows" if count.windows else ""
    return f"{count.records:,} records{windows}, {size_text(count.bytes)}"


def size_text(size: float) -> str:
    """Return a size in bytes as text with a unit, in powers of 1000.

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
    records = {name: topic.records for name, topic in count.topics.items()}
    if as_json:
        print_json(
            {
                "path": str(path),
                "records": count.records,
                "windows": count.windows,
                "bytes": count.bytes,
                "file_bytes": size,
                "deleted_before_read": count.deleted,
                "seconds": round(seconds, 3),
                "ended_by": count.ended_by,
                "topics": records,
            }
        )
        return
    typer.echo(f"recorded {_in_words(count)} in {seconds:.1f} s to {path} ({size_text(size)})")
    if len(records) > 1:
        for name, number in records.items():
            typer.echo(f"  {name}: {number:,}")
    if count.deleted:
        typer.echo(f"{count.deleted:,} records are missing: the topic's retention deleted them before they were read")
