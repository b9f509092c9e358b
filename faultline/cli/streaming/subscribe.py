"""Define ``faultline subscribe``, which prints fault events as they are published."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from faultline.cli.completion import fault_types, spec_names

if TYPE_CHECKING:
    from rich.text import Text

    from stream.contract import EpisodeState, FaultEvent
    from stream.kafka.reading.reader import StartAt
    from stream.settings import Settings
    from stream.subscribe import EventFeed, EventFilter, Received


COLOURS: dict[str, str] = {"onset": "bold red", "update": "yellow", "clear": "green"}


def subscribe(
    types: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TYPE]...",
            autocompletion=fault_types,
            help="Fault types of the spec, such as lg [default: all types].",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as one JSON object, as published.")] = False,
    since: Annotated[
        str, typer.Option("--from", help="Start at: earliest, latest, or an ISO time such as 2026-01-31T12:00:00.")
    ] = "latest",
    line: Annotated[list[str] | None, typer.Option(help="Print only events of this line; can be repeated.")] = None,
    state: Annotated[
        list[str] | None, typer.Option(help="Print only onset, update or clear events; can be repeated.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Exit after this many events.", min=1, show_default=False)] = None,
    timeout: Annotated[
        float | None,
        typer.Option(help="Exit after this many seconds; with status 1 if --limit was not reached.", min=0.1),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            help="Read as a member of this consumer group: its members share the events and resume after a restart."
        ),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option(help="Bootstrap servers, host:port[,host:port…] [default: FAULTLINE_BROKER].", show_default=False),
    ] = None,
    spec: Annotated[
        str | None,
        typer.Option(
            autocompletion=spec_names,
            help="Signal spec of the fault types [default: FAULTLINE_SPEC].",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print fault events, one per line, until Ctrl-C.

    An event that changes a fault's type is published on the topics of both types, and printed once. Without --group
    no offsets are committed and other readers are not affected. New topics are read within seconds of their creation.

    Examples:
    - `faultline subscribe`
    - `faultline subscribe lg llg --state onset --json | jq .line`
    """
    from stream.kafka.reading.reader import parse_start
    from stream.settings import load_settings
    from stream.subscribe import EventFilter, fault_topics

    settings = load_settings(broker=broker, spec=spec)
    print_events(
        settings,
        fault_topics(settings, types or []),
        parse_start(since),
        EventFilter(frozenset(line or ()), parse_states(state or [])),
        group=group,
        as_json=as_json,
        limit=limit,
        timeout_s=timeout,
    )


def parse_states(names: Sequence[str]) -> frozenset[EpisodeState]:
    """Return the states of an episode by their names.

    Raises:
        SettingsError: if a state is unknown.
    """
    from stream.contract import EpisodeState
    from stream.errors import SettingsError

    known: tuple[EpisodeState, ...] = get_args(EpisodeState)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SettingsError(f"unknown state {', '.join(unknown)}: use {', '.join(known)}")
    return frozenset(state for state in known if state in names)


def event_line(event: FaultEvent) -> Text:
    """Return one event in one line: time (UTC), line, state, class, its meaning, and confidence or duration."""
    from rich.text import Text

    time = datetime.fromtimestamp(event.detection_ns / 1e9, UTC).isoformat(sep=" ", timespec="milliseconds")
    text = Text(f"{time.replace('+00:00', 'Z')}  {event.line:<12}  ")
    text.append(f"{event.state:<6}", COLOURS[event.state])
    text.append(f"  {event.fault_class:<6}  {event.meaning():<20}")
    if event.duration_s is None:
        text.append(f"  {event.confidence:6.1%}")
    else:
        text.append(f"  lasted {event.duration()}")
    if event.quality:
        text.append(f"  ({', '.join(event.quality)})", "dim")
    return text


def print_events(
    settings: Settings,
    topics: frozenset[str] | None,
    start: StartAt,
    wanted: EventFilter,
    *,
    group: str | None = None,
    as_json: bool = False,
    limit: int | None = None,
    timeout_s: float | None = None,
) -> None:
    """Print events until Ctrl-C, ``limit`` or ``timeout_s``; exit with 1 if the limit was not reached in time."""
    from rich.console import Console

    from stream.subscribe import EventFeed
    from stream.telemetry.logs import configure_logs

    configure_logs(settings)
    console = Console(highlight=False, soft_wrap=True)

    def show(received: Received) -> None:
        if as_json:
            typer.echo(received.value)
        else:
            console.print(event_line(received.event))

    feed = EventFeed(settings, topics, start, group=group)
    printed = asyncio.run(_print(feed, wanted, show, limit, timeout_s))
    if limit is not None and timeout_s is not None and printed < limit:
        typer.echo(f"faultline: only {printed} of {limit} events arrived within {timeout_s:g} s", err=True)
        raise typer.Exit(1)


async def _print(
    feed: EventFeed, wanted: EventFilter, show: Callable[[Received], None], limit: int | None, timeout_s: float | None
) -> int:
    printed = 0

    async def run() -> None:
        nonlocal printed
        async with feed:
            async for received in feed:
                if wanted.wants(received.event):
                    show(received)
                    printed += 1
                    if printed == limit:
                        break
            await feed.commit()

    task = asyncio.create_task(run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(TimeoutError, asyncio.CancelledError):
        async with asyncio.timeout(timeout_s):
            await task
    return printed
