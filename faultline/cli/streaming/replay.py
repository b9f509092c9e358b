"""Define ``faultline replay``, which sends the windows of a file to a topic, or compares two models on them."""

from __future__ import annotations

import asyncio
import math
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faultline.cli.completion import model_names
from faultline.cli.waveforms.options import (
    FORMATS,
    Channels,
    CurrentBase,
    Encoding,
    Flip,
    Frequency,
    Mapping,
    Rate,
    VoltageBase,
    read_options,
)
from faultline.output import print_json, show_progress

if TYPE_CHECKING:
    from stream.recordings.replay import ReplayCount, ReplayOptions
    from stream.recordings.sources import Source
    from stream.settings import Settings


def replay(
    source: Annotated[
        Path,
        typer.Argument(
            help=f"A recording (Parquet), a waveform record ({FORMATS}), or classData.csv.", show_default=False
        ),
    ],
    topic: Annotated[
        str | None, typer.Option(help="Topic to send to [default: the topics of the recording].", show_default=False)
    ] = None,
    pace: Annotated[str, typer.Option(help="1: as recorded; N: N times as fast; max: as fast as possible.")] = "1",
    loop: Annotated[
        bool, typer.Option("--loop", help="Repeat without end; times and sequence numbers keep increasing.")
    ] = False,
    restamp: Annotated[
        bool,
        typer.Option(
            "--restamp/--original-times",
            help="Shift all times so that the replay begins now, or send the records byte for byte.",
        ),
    ] = False,
    start: Annotated[
        str | None, typer.Option("--from", help="Start at: seconds into the file, or an ISO time.", show_default=False)
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="End before: seconds into the file, or an ISO time.", show_default=False)
    ] = None,
    keep_partitions: Annotated[
        bool, typer.Option("--keep-partitions", help="Send each record to the partition that it was recorded from.")
    ] = False,
    max_in_flight: Annotated[
        int, typer.Option(help="Largest number of records sent and not yet acknowledged.", min=1)
    ] = 2000,
    max_lag: Annotated[
        int | None,
        typer.Option(
            help="Pause while the workers lag by more records than this [default: never].", min=1, show_default=False
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            help="Consumer group of the workers, for --max-lag [default: FAULTLINE_GROUP].", show_default=False
        ),
    ] = None,
    windows_per_message: Annotated[
        int | None,
        typer.Option(
            help="Windows in one message; not for recordings [default: 4, for classData.csv 100].",
            min=1,
            show_default=False,
        ),
    ] = None,
    lines: Annotated[
        int | None,
        typer.Option(
            help="Send each line as this many lines, with phases rotated and 50 ms apart. classData.csv is divided"
            " into this many lines instead.",
            min=1,
            max=1000,
            show_default=False,
        ),
    ] = None,
    encoding: Encoding = None,
    channels: Channels = None,
    mapping: Mapping = None,
    flip: Flip = False,
    frequency: Frequency = None,
    rate: Rate = None,
    current_base: CurrentBase = None,
    voltage_base: VoltageBase = None,
    against: Annotated[
        str | None,
        typer.Option(
            autocompletion=model_names,
            help="Send nothing; compare this model with the model of --and on the file (path, or name of a shipped"
            " model).",
            show_default=False,
        ),
    ] = None,
    and_: Annotated[
        str | None,
        typer.Option(
            "--and", autocompletion=model_names, help="The model to compare with that of --against.", show_default=False
        ),
    ] = None,
    tolerance_ms: Annotated[
        float, typer.Option(help="With --against: inceptions that differ by less count as equal, ms.", min=0.0)
    ] = 5.0,
    broker: Annotated[
        str | None,
        typer.Option(help="Bootstrap servers, host:port[,host:port…] [default: FAULTLINE_BROKER].", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the final count as one JSON object.")] = False,
) -> None:
    """Send the windows of a file to Kafka and count what the broker acknowledged; or compare two models on the file.

    The records of a line stay in order and on one partition (keyed by line, idempotent, acks=all). Ctrl-C stops once
    the records in flight are acknowledged, and prints the count. The exit status is 0 only if every record that was
    sent was acknowledged.

    At a pace of 1 or N the command also reports how late the records were sent: the median and the 99th percentile
    in ms, and the drift, that is, how much later the records of the last second were than those of the first.

    With `--against MODEL --and MODEL` nothing is sent and no broker is needed: both models classify the file with the
    worker's detection. The command prints their episodes side by side, with the differences by line and time. The
    exit status is 0 if the models agree and 3 if they differ.

    An embedded broker keeps only the newest 5 MiB of each partition: at pace max use --max-lag with it, for example
    2000. A broker may delete records at once whose times are older than the topic's retention: use --restamp for those.

    Examples:
    - `faultline replay night.parquet --pace 10 --restamp`
    - `faultline replay fault.cfg --restamp`
    - `faultline replay night.parquet --from 30 --to 40 --lines 12 --pace max --topic test-windows`
    - `faultline replay night.parquet --against line --and candidate.safetensors`
    - `FAULTLINE_SPEC=instant faultline replay classData.csv --pace max --max-lag 2000`
    """
    from stream.errors import SettingsError
    from stream.recordings.clip import Clip, parse_moment
    from stream.recordings.replay import ReplayOptions
    from stream.recordings.sources import SourceOptions
    from stream.settings import load_settings

    if (against is None) != (and_ is None):
        raise SettingsError("--against and --and go together: give both models")
    settings = load_settings(broker=broker, group=group)
    options = ReplayOptions(
        topic=topic,
        default_topic=settings.topic_windows,
        speed=parse_pace(pace),
        loop=loop,
        restamp=restamp,
        keep_partitions=keep_partitions,
        max_in_flight=max_in_flight,
        max_lag=max_lag,
    )
    clip = Clip(parse_moment("--from", start), parse_moment("--to", to))
    source_options = SourceOptions(windows_per_message, lines, clip=clip, warn=lambda text: typer.echo(text, err=True))
    read = read_options(
        encoding=encoding,
        channels=channels,
        mapping=mapping,
        flip=flip,
        frequency_hz=frequency,
        rate_hz=rate,
        current_base=current_base,
        voltage_base=voltage_base,
    )
    if against is not None and and_ is not None:
        from faultline.cli.streaming.replay_comparison import compare_on_file
        from faultline.comparison import Tolerance

        tolerance = Tolerance(inception_ms=tolerance_ms)
        compare_on_file(settings, source, (against, and_), source_options, read, tolerance, as_json=as_json)
        return
    from model.spec import load_spec
    from stream.recordings.sources import open_replay
    from stream.telemetry.logs import configure_logs

    configure_logs(settings)
    opened = open_replay(source, load_spec(settings.spec), source_options, read)
    _replay(settings, opened, options, as_json=as_json)


def parse_pace(text: str) -> float | None:
    """Return the speed of a pace; None for ``max``.

    Raises:
        SettingsError: if ``text`` is neither a positive number nor ``max``.
    """
    from stream.errors import SettingsError

    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not (math.isfinite(speed) and speed > 0):
        raise SettingsError(f"--pace {text}: give a number above 0 (1 is as recorded), or max")
    return speed


def _replay(settings: Settings, source: Source, options: ReplayOptions, *, as_json: bool) -> None:
    """Replay and print the count on standard output.

    Raises:
        ReplayError: if a record was not sent or not acknowledged; the count is printed first.
    """
    from stream.errors import ReplayError

    began_s = time.monotonic()
    count = asyncio.run(_run(settings, source, options))
    _print_count(count, time.monotonic() - began_s, as_json=as_json)
    if count.failure is not None:
        raise ReplayError(count.failure)
    if not count.complete:
        raise ReplayError(f"{count.records - count.confirmed_records} of {count.records} records were not acknowledged")


async def _run(settings: Settings, source: Source, options: ReplayOptions) -> ReplayCount:
    from stream.recordings.replay import open_replayer

    total = None if options.loop else source.total
    async with open_replayer(settings, source, options) as replayer:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, replayer.stop)
        text, confirmed = lambda: _in_words(replayer.count, total), lambda: replayer.count.confirmed_records
        async with show_progress(text, confirmed, total):
            return await replayer.run()


def _in_words(count: ReplayCount, total: int | None) -> str:
    of = "" if total is None else f" of {total:,}"
    late = f", {count.late_s:.1f} s behind its pace" if count.late_s > 1 else ""
    lag = f", workers' lag {count.lag:,}" if count.lag else ""
    return f"{count.confirmed_records:,}{of} records, {count.confirmed_windows:,} windows acknowledged{lag}{late}"


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
        print_json(body)
        return
    confirmed = "all acknowledged" if count.complete else f"{count.confirmed_records:,} acknowledged"
    rate = count.confirmed_windows / seconds if seconds > 0 else 0.0
    typer.echo(
        f"sent {count.records:,} records with {count.windows:,} windows in {seconds:.1f} s "
        f"({rate:,.0f} windows/s); {confirmed}"
    )
    if kept is not None and count.records:
        typer.echo(
            f"lateness of records: median {kept.quantile_ms(0.5):.2f} ms, p99 {kept.quantile_ms(0.99):.2f} ms, "
            f"drift {kept.drift_ms:+.2f} ms"
        )
