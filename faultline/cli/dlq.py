"""``faultline dlq``: what could not be judged, why, and sending it again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stream.dead_letters.letters import LetterFilter

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
    from stream.kafka.reader import parse_start

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
    from stream.dead_letters.redrive import list_letters
    from stream.kafka.reader import parse_start
    from stream.settings import load_settings

    wanted = _wanted(reason, line, before)
    list_letters(load_settings(broker=broker), parse_start(since), wanted, as_json=as_json)


@app.command()
def show(
    place: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="As `faultline dlq list` prints it.")],
    out: Annotated[Path | None, typer.Option(help="Write its value to this file.", show_default=False)] = None,
    broker: Broker = None,
) -> None:
    """Show one dead letter: its cause, where it came from, its headers and first bytes.

    Example: `faultline dlq show 3:1207 --out letter.bin`
    """
    from stream.dead_letters.redrive import show_letter
    from stream.settings import load_settings

    show_letter(load_settings(broker=broker), place, out)


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
    from stream.kafka.reader import parse_start
    from stream.settings import load_settings

    redrive(
        load_settings(broker=broker),
        parse_start(since),
        _wanted(reason, line, before),
        topic=topic,
        also_again=again,
        dry_run=dry_run,
    )
