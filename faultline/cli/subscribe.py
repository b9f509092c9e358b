"""``faultline subscribe``: fault events as they are published."""

from __future__ import annotations

from typing import Annotated

import typer


def subscribe(
    types: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TYPE]...", help="lg, ll, llg, lll, lllg, unknown; all types without.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line, as published.")] = False,
    since: Annotated[
        str, typer.Option("--from", help="earliest, latest, or an ISO time such as 2026-01-31T12:00:00.")
    ] = "latest",
    line: Annotated[list[str] | None, typer.Option(help="Only this line; may be given again.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Only onset, update or clear; may be given again.")] = None,
    limit: Annotated[int | None, typer.Option(help="End after so many events.", min=1, show_default=False)] = None,
    timeout: Annotated[
        float | None,
        typer.Option(help="End after so many seconds; exit status 1 if --limit was not reached.", min=0.1),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="Share the events with the other members of this consumer group, and go on where it was."),
    ] = None,
    broker: Annotated[str | None, typer.Option(help="Bootstrap servers, host:port[,…].", show_default=False)] = None,
) -> None:
    """Print fault events, one per line, until Ctrl-C.

    An event that changes a fault's type is published on both types' topics and printed once. Without --group nothing
    is remembered and nobody else's reading is disturbed. Topics that appear later are picked up within seconds.

    Examples:

    `faultline subscribe`

    `faultline subscribe lg llg --state onset --json | jq .line`
    """
    from faultline.subscribing import parse_states, print_events
    from stream.settings import load_settings
    from stream.subscribe import EventFilter, fault_topics, parse_start

    settings = load_settings(broker=broker)
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
