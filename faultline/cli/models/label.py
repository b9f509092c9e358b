"""Define ``faultline label``, which labels a fault event, or a fault that was missed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from faultline.cli.completion import class_names
from faultline.output import progress_bar

if TYPE_CHECKING:
    from stream.contract import WindowLabel
    from stream.settings import Settings
    from training.sidecar.label_client import OperatorLabel


def label(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[EVENT_ID] CLASS",
            autocompletion=class_names,
            help="Id of the event and its true class: a class of the spec such as AG, or none for no fault. With"
            " --line give the class only.",
            show_default=False,
        ),
    ],
    line: Annotated[
        str | None,
        typer.Option(help="Line on which a fault was missed; needs --from and --to.", show_default=False),
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option(
            "--from", help="Inception of the missed fault, an ISO time: 2026-01-31T12:00:00.25Z.", show_default=False
        ),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="Clearing of the missed fault, an ISO time.", show_default=False)
    ] = None,
    note: Annotated[str, typer.Option(help="Reason, kept with the label.", show_default=False)] = "",
    by: Annotated[
        str | None, typer.Option(help="Name of the operator [default: your login name].", show_default=False)
    ] = None,
    days: Annotated[float, typer.Option(help="Look for the event this many days back.", min=0.01, max=3650)] = 30,
    broker: Annotated[
        str | None,
        typer.Option(help="Bootstrap servers, host:port[,host:port…] [default: FAULTLINE_BROKER].", show_default=False),
    ] = None,
) -> None:
    """Label an event with its true class; the next retraining trains on the label.

    The event's episode is looked up on the fault topics. The label covers the windows from inception to clearing and
    is published on window-labels. If two labels cover a window, the later one counts. `faultline subscribe --json`
    prints the event id of each event.

    Examples:
    - `faultline label 5c8f1d0e9a7b42c6b1d3e5f708192a3b none --note "train passing"`
    - `faultline label --line feeder-7 --from 2026-01-31T12:00:00.25Z --to 2026-01-31T12:00:00.40Z AG`
    """
    from stream.errors import SettingsError
    from stream.settings import load_settings
    from training.sidecar.label_client import OperatorLabel

    if line is None:
        if len(words) != 2 or begin is not None or end is not None:
            raise SettingsError("give EVENT_ID CLASS, or --line LINE --from TIME --to TIME CLASS")
        label_event(load_settings(broker=broker), words[0], OperatorLabel(words[1], by, note), days=days)
        return
    if len(words) != 1 or begin is None or end is None:
        raise SettingsError("--line needs --from TIME, --to TIME and one CLASS")
    label_range(load_settings(broker=broker), line, begin, end, OperatorLabel(words[0], by, note))


def label_event(settings: Settings, event_id: str, given: OperatorLabel, *, days: float) -> None:
    """Label an event's episode; show a progress bar while the event is looked up, then print the label."""
    from stream.telemetry.logs import configure_logs
    from training.sidecar import label_client

    configure_logs(settings)
    with progress_bar("looking for the event") as bar:
        label, events = asyncio.run(
            label_client.label_event(
                settings,
                event_id,
                given,
                days=days,
                on_progress=lambda done, total: bar.update(completed=done, total=total),
            )
        )
    event = events[0]
    cleared = any(e.state == "clear" for e in events)
    about = f"{event.fault_class} on {event.line}, inception {_time(event.inception_ns)}"
    _show(label, about + ("" if cleared else "; the fault is not cleared yet: label it again once it is"))


def label_range(settings: Settings, line: str, begin: str, end: str, given: OperatorLabel) -> None:
    """Label the windows of a line between two ISO times, and print the label."""
    from stream.telemetry.logs import configure_logs
    from training.sidecar import label_client

    configure_logs(settings)
    begin_ns, end_ns = parse_time("--from", begin), parse_time("--to", end)
    label = asyncio.run(label_client.label_range(settings, line, begin_ns, end_ns, given))
    _show(label, f"{line}, {_time(begin_ns)} to {_time(end_ns)}")


def parse_time(option: str, text: str) -> int:
    """Return an ISO time as Unix ns; a time without a zone is in this machine's time zone.

    Raises:
        SettingsError: if ``text`` is not an ISO time.

    Example:
        >>> parse_time("--from", "1970-01-01T00:00:01.5Z")
        1500000000
    """
    from stream.contract import NS_PER_S
    from stream.errors import SettingsError

    try:
        at = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise SettingsError(f"{option} {text}: give an ISO time, e.g. 2026-01-31T12:00:00.250Z") from None
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * NS_PER_S + since.microseconds * 1000


def _time(ns: int) -> str:
    from stream.contract import NS_PER_S

    return datetime.fromtimestamp(ns / NS_PER_S, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _show(label: WindowLabel, about: str) -> None:
    from training.sidecar.store.labels import NO_FAULT

    name = "no fault" if label.fault_class == NO_FAULT else label.fault_class
    typer.echo(f"labelled as {name}: {about}")
    typer.echo(
        f"the label covers windows that start from {_time(label.first_ns)} to {_time(label.last_ns)}; the next"
        f" retraining trains on those that the trainer has stored (label {label.label_id}, by {label.by})"
    )
