"""``faultline record``: keep what is on topics in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def record(
    topics: Annotated[
        list[str] | None,
        typer.Argument(help="Topics, or patterns such as 'faults.*'; sensor-windows if none.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The recording (Parquet).")] = Path("recording.parquet"),
    seconds: Annotated[float | None, typer.Option(help="End after so long.", min=0.0, show_default=False)] = None,
    count: Annotated[int | None, typer.Option(help="End after so many records.", min=1, show_default=False)] = None,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="End where the topics end now; from the beginning unless told.")
    ] = False,
    start: Annotated[
        str | None, typer.Option("--from", help="earliest, latest (the default) or an ISO time.", show_default=False)
    ] = None,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="The same as --from earliest.")] = False,
    to: Annotated[
        str | None, typer.Option(help="End before this ISO time, also one to come.", show_default=False)
    ] = None,
    flush_seconds: Annotated[
        float, typer.Option(help="What was recorded is safe from a kill after so long at the latest.", min=0.1)
    ] = 10.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file of that name.")] = False,
    repair: Annotated[
        Path | None,
        typer.Option(help="Make plain Parquet of a recording that was killed, and stop.", show_default=False),
    ] = None,
    broker: Annotated[str | None, typer.Option(help="Bootstrap servers, host:port[,…].", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The final count as one JSON object.")] = False,
) -> None:
    """Record topics byte for byte: keys, values, headers, partitions, offsets and times, nulls included.

    Reads beside everybody else, without joining a group. Ctrl-C ends the recording and prints the exact count. A
    recording that was killed is read by `faultline replay` as it is, up to its last whole batch
    (8 MiB, or `--flush-seconds`); `--repair` makes plain Parquet of it for other tools.

    Examples:

    `faultline record --seconds 60 --out minute.parquet`

    `faultline record sensor-windows 'faults.*' --from 2026-01-31T12:00 --to 2026-01-31T12:05 --out storm.parquet`

    `faultline record --repair killed.parquet`
    """
    from stream.errors import SettingsError
    from stream.kafka.reader import parse_start
    from stream.recordings.record_job import RecordOptions, parse_end, record_topics, repair_recording
    from stream.recordings.recorder import RecordBounds
    from stream.settings import load_settings

    if repair is not None:
        repair_recording(repair, as_json=as_json)
        return
    if from_beginning and start is not None:
        raise SettingsError("--from-beginning and --from contradict each other: give one")
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
    chosen = tuple(topics or [settings.topic_windows])
    record_topics(settings, RecordOptions(chosen, out, begin, bounds, overwrite), as_json=as_json)
