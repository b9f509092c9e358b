"""``faultline label``: a person's verdict on an event, or on a fault that was missed."""

from __future__ import annotations

from typing import Annotated

import typer


def label(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[EVENT_ID] CLASS",
            help="The event and what it was: a class of the spec such as AG, or none for no fault. With --line only"
            " the class.",
            show_default=False,
        ),
    ],
    line: Annotated[
        str | None, typer.Option(help="A line on which a fault was missed, with --from and --to.", show_default=False)
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option("--from", help="Its inception, an ISO time such as 2026-01-31T12:00:00.25Z.", show_default=False),
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Its clearing.", show_default=False)] = None,
    note: Annotated[str, typer.Option(help="Why, for people.", show_default=False)] = "",
    by: Annotated[str | None, typer.Option(help="Who says so; your login without.", show_default=False)] = None,
    days: Annotated[float, typer.Option(help="How far to look back for the event.", min=0.01, max=3650)] = 30,
    broker: Annotated[str | None, typer.Option(help="Bootstrap servers, host:port[,…].", show_default=False)] = None,
) -> None:
    """Say what an event was, so that the next retraining learns it.

    The event's episode is looked up on the fault topics; the verdict is about its windows from inception to clear and
    is published on window-labels. Of two verdicts on a window the later one counts. EVENT_ID is printed by
    `faultline subscribe --json`.

    Examples:

    `faultline label 5c8f1d0e9a7b42c6b1d3e5f708192a3b none --note "train passing"`

    `faultline label --line feeder-7 --from 2026-01-31T12:00:00.25Z --to 2026-01-31T12:00:00.40Z AG`
    """
    from stream.errors import SettingsError
    from stream.settings import load_settings
    from training.sidecar.label_client import Verdict, label_event, label_range

    if line is None:
        if len(words) != 2 or begin is not None or end is not None:
            raise SettingsError("give EVENT_ID CLASS, or --line LINE --from TIME --to TIME CLASS")
        label_event(load_settings(broker=broker), words[0], Verdict(words[1], by, note), days=days)
        return
    if len(words) != 1 or begin is None or end is None:
        raise SettingsError("--line needs --from TIME, --to TIME and one CLASS")
    label_range(load_settings(broker=broker), line, begin, end, Verdict(words[0], by, note))
