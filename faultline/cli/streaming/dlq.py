"""Define ``faultline dlq``, which shows dead letters and sends them again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faultline.output import print_json

if TYPE_CHECKING:
    from stream.dead_letters.letters import LetterFilter
    from stream.settings import Settings

app = typer.Typer(
    help="Count, show and resend dead letters: records of windows that workers could not classify.",
    no_args_is_help=True,
)

Broker = Annotated[
    str | None, typer.Option(help="Bootstrap servers, host:port[,host:port…] [default: FAULTLINE_BROKER].")
]
Reason = Annotated[list[str] | None, typer.Option(help="Only dead letters of this reason; can be repeated.")]
Line = Annotated[list[str] | None, typer.Option(help="Only dead letters of this line; can be repeated.")]
Since = Annotated[str, typer.Option("--from", help="Start at: earliest, or an ISO time such as 2026-01-31T12:00:00.")]
Before = Annotated[str | None, typer.Option("--to", help="End before this ISO time.", show_default=False)]


def _wanted(reason: list[str] | None, line: list[str] | None, before: str | None) -> LetterFilter:
    from typing import get_args

    from stream.contract import DeadLetterReason
    from stream.dead_letters.letters import LetterFilter
    from stream.errors import SettingsError
    from stream.kafka.reading.reader import parse_start

    known = get_args(DeadLetterReason)
    unknown = [name for name in reason or () if name not in known]
    if unknown:
        raise SettingsError(f"unknown reason {', '.join(unknown)}: use {', '.join(known)}")
    return LetterFilter(
        frozenset(reason or ()), frozenset(line or ()), parse_start(before).at_ms if before is not None else None
    )


@app.command("list")
def list_(
    reason: Reason = None,
    line: Line = None,
    since: Since = "earliest",
    before: Before = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per reason.")] = False,
    broker: Broker = None,
) -> None:
    """Count the dead letters by reason, with the lines that they came from and one example each.

    Example: `faultline dlq list --from 2026-01-31T12:00:00`
    """
    from stream.dead_letters.letters import time_text
    from stream.dead_letters.redrive import count_letters
    from stream.kafka.reading.reader import parse_start

    wanted = _wanted(reason, line, before)
    settings = _settings(broker)
    count = asyncio.run(count_letters(settings, parse_start(since), wanted))
    _warn(count.unreadable, settings)
    if as_json:
        for one in count.reasons:
            print_json(one.as_dict())
        return
    if not count.reasons:
        typer.echo("no dead letters")
        return
    for one in count.reasons:
        named = ", ".join(f"{source} ({times})" for source, times in one.most())
        more = len(one.sources) - len(one.most())
        typer.echo(
            f"{one.letters:>9,} {one.reason:<13} last {time_text(one.last_ms)}, e.g. {one.example}: {one.message}"
        )
        typer.echo(f"{'':>9} from {named}" + (f" and {more} more" if more else ""))


def _settings(broker: str | None) -> Settings:
    from stream.settings import load_settings
    from stream.telemetry.logs import configure_logs

    settings = load_settings(broker=broker)
    configure_logs(settings)
    return settings


def _warn(unreadable: int, settings: Settings) -> None:
    if unreadable:
        text = f"{unreadable} records of {settings.topic_dead_letters} do not state their cause; they are omitted"
        typer.echo(text, err=True)


@app.command()
def show(
    place: Annotated[
        str, typer.Argument(metavar="PARTITION:OFFSET", help="Its place, as `faultline dlq list` prints it.")
    ],
    out: Annotated[Path | None, typer.Option(help="Write its value to this file.", show_default=False)] = None,
    broker: Broker = None,
) -> None:
    """Show one dead letter: its cause, its origin, its headers and the first bytes of its value.

    Example: `faultline dlq show 3:1207 --out letter.bin`
    """
    from stream.dead_letters.letters import dump, parse_place, time_text
    from stream.dead_letters.redrive import find_letter
    from stream.errors import ReplayError

    settings = _settings(broker)
    letter = asyncio.run(find_letter(settings, *parse_place(place)))
    cause = letter.cause
    typer.echo(f"{cause.reason}: {cause.message}")
    typer.echo(f"from {cause.topic} {cause.partition}:{cause.offset}, sent {time_text(cause.timestamp_ms)}")
    redriven = "; it had been redriven before" * letter.again
    typer.echo(f"key {letter.source}; rejected {time_text(letter.timestamp_ms)}{redriven}")
    for name, text in letter.headers:
        typer.echo(f"header {name!r}: {'null' if text is None else repr(text)[:200]}")
    if letter.value is None:
        typer.echo("value not copied: read the original record" if cause.by_reference else "value null")
    else:
        typer.echo(f"value of {len(letter.value)} bytes")
        typer.echo(dump(letter.value))
    if out is not None:
        try:
            out.write_bytes(letter.value or b"")
        except OSError as error:
            raise ReplayError(f"{out}: cannot be written: {error.strerror}") from error


@app.command()
def redrive(
    reason: Reason = None,
    line: Line = None,
    since: Since = "earliest",
    before: Before = None,
    topic: Annotated[
        str | None, typer.Option(help="Send all records to this topic [default: the topic each came from].")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also send records that were redriven before and rejected again.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the records and send nothing.")] = False,
    broker: Broker = None,
) -> None:
    """Send dead letters back to the topic they came from; use it once their cause is removed.

    Key, value and headers are sent as received, with the additional header faultline.redriven.from, which names the
    place of the dead letter. Dead letters stay on their topic until its retention deletes them. Sending one twice does
    no harm, since a worker recognises windows that it has classified.

    A worker does not go back in time: if newer windows of the line were classified meanwhile, the redriven windows are
    counted as late and give no events. To classify them all the same, send them with --topic to a separate topic and
    run a worker with its own FAULTLINE_TOPIC_WINDOWS and FAULTLINE_GROUP on it.

    Example: `faultline dlq redrive --reason wrong-spec --from 2026-01-31T12:00:00 --dry-run`
    """
    from stream.dead_letters.redrive import redrive
    from stream.kafka.reading.reader import parse_start

    settings = _settings(broker)
    count = asyncio.run(
        redrive(
            settings,
            parse_start(since),
            _wanted(reason, line, before),
            topic=topic,
            also_again=again,
            dry_run=dry_run,
        )
    )
    _warn(count.unreadable, settings)
    typer.echo(f"{count.sent} {'would be sent' if dry_run else 'sent again and acknowledged'}")
    if count.again:
        typer.echo(f"{count.again} skipped: redriven before and rejected again; --again sends them once more")
    if count.gone:
        typer.echo(f"{count.gone} skipped: too large to be copied, and no longer on the topic they came from")
