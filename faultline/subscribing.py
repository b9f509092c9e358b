"""Prints fault events for people and for programs."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import get_args

import typer
from rich.console import Console
from rich.text import Text

from stream.contract import EpisodeState, FaultEvent
from stream.errors import SettingsError
from stream.settings import Settings
from stream.subscribe import EventFeed, EventFilter, Received, StartAt
from stream.telemetry.logs import configure_logs

COLOURS: dict[EpisodeState, str] = {"onset": "bold red", "update": "yellow", "clear": "green"}


def parse_states(names: Sequence[str]) -> frozenset[EpisodeState]:
    """The states of an episode.

    Raises:
        SettingsError: an unknown state.
    """
    known: tuple[EpisodeState, ...] = get_args(EpisodeState)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SettingsError(f"no state {', '.join(unknown)}; there are {', '.join(known)}")
    return frozenset(state for state in known if state in names)


def event_line(event: FaultEvent) -> Text:
    """One event in one line: time (UTC), line, state, class, what is known of it, confidence, duration."""
    time = datetime.fromtimestamp(event.detection_ns / 1e9, UTC).isoformat(sep=" ", timespec="milliseconds")
    phases = f"phases {event.phases}" if event.phases else "phases ?"
    if event.ground:
        phases += " to ground"
    text = Text(f"{time.replace('+00:00', 'Z')}  {event.line:<12}  ")
    text.append(f"{event.state:<6}", COLOURS[event.state])
    text.append(f"  {event.fault_class:<6}  {phases:<20}")
    if event.duration_s is None:
        text.append(f"  {event.confidence:6.1%}")
    else:
        text.append(f"  lasted {event.duration_s * 1000:.0f} ms, {event.duration_cycles or 0:.1f} cycles")
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
    """Print events until Ctrl-C, ``limit`` or ``timeout_s``; exits with 1 if the limit was not reached in time."""
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
        typer.echo(f"faultline: {printed} of {limit} events after {timeout_s:g} s", err=True)
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
