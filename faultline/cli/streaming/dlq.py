"""``faultline dlq``: what could not be judged, why, and sending it again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faultline.output import print_json

if TYPE_CHECKING:
    from stream.dead_letters.letters import LetterFilter
    from stream.settings import Settings

app = typer.Typer(help="Records that could not be judged: why, whose, and sending them again.", no_args_is_help=True)

Broker = Annotated[str | None, typer.Option(help="Bootstrap servers, host:port[,…]; FAULTLINE_BROKER when not given.")]
Reason = Annotated[list[str] | None, typer.Option(help="Only of this reason; may be given again.")]
Line = Annotated[list[str] | None, typer.Option(help="Only of this line; may be given again.")]
Since = Annotated[str, typer.Option("--from", help="earliest, or an ISO time such as 2026-01-31T12:00:00.")]
Before = Annotated[str | None, typer.Option("--to", help="Before this ISO time.", show_default=False)]


def _wanted(reason: list[str] | None, line: list[str] | None, before: str | None) -> LetterFilter:
    from typing import get_args

    from stream.contract import DeadLetterReason
    from stream.dead_letters.letters import LetterFilter
    from stream.errors import SettingsError
    from stream.kafka.reading.reader import parse_start

    known = get_args(DeadLetterReason)
    unknown = [name for name in reason or () if name not in known]
    if unknown:
        raise SettingsError(f"no reason {', '.join(unknown)}; there are {', '.join(known)}")
    return LetterFilter(
        frozenset(reason or ()), frozenset(line or ()), parse_start(before).at_ms if before is not None else None
    )


@app.command("list")
def list_(
    reason: Reason = None,
    line: Line = None,
    since: Since = "earliest",
    before: Before = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per reason.")] = False,
    broker: Broker = None,
) -> None:
    """Count the dead letters by reason, with who sent them and one to look at.

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
        text = f"{unreadable} records of {settings.topic_dead_letters} do not tell their cause: left out"
        typer.echo(text, err=True)


@app.command()
def show(
    place: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="As `faultline dlq list` prints it.")],
    out: Annotated[Path | None, typer.Option(help="Write its value to this file.", show_default=False)] = None,
    broker: Broker = None,
) -> None:
    """Show one dead letter: its cause, where it came from, its headers and first bytes.

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


@app.command()
def redrive(
    reason: Reason = None,
    line: Line = None,
    since: Since = "earliest",
    before: Before = None,
    topic: Annotated[str | None, typer.Option(help="Send there instead of to where each came from.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Those too that were sent again and died again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, send nothing.")] = False,
    broker: Broker = None,
) -> None:
    """Send dead letters to where they came from, once their cause is gone.

    Key, value and headers are as received; a header faultline.redriven.from says where the letter stands. The letters
    stay on their topic until its retention deletes them, and sending one twice does no harm: a worker knows which
    windows it has judged. A line that has gone on since is not judged backwards: its redriven windows are counted as
    late. To see what they would have been, send them with --topic to a topic of their own, read by a worker with
    FAULTLINE_TOPIC_WINDOWS and FAULTLINE_GROUP of its own.

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
    typer.echo(f"{count.sent} {'would be sent' if dry_run else 'sent again and confirmed'}")
    if count.again:
        typer.echo(f"{count.again} left alone: sent again before and dead again; --again sends them once more")
    if count.gone:
        typer.echo(f"{count.gone} left alone: too large to copy, and not at their origin any more")
