"""Define ``faultline inspect``, which shows the contents of a waveform file and how it is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faultline.cli.waveforms.options import (
    Channels,
    CurrentBase,
    Encoding,
    Files,
    Flip,
    Frequency,
    Mapping,
    Rate,
    VoltageBase,
)
from faultline.output import print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from domains.powerline.waveforms import Record, RecordLine
    from domains.powerline.waveforms.record import ChannelSummary

TABLE_WIDTH = 110
MOST_SEGMENTS = 12
MOST_CHANNELS = 60
MOST_LINES = 10
"""Numbers of segments, channels and lines above which the rest is shown with ``--all`` only."""


def inspect(
    files: Files,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per file.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw waveforms, phasors and sequence components to this PNG file (one input file only)."),
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Show all channels and lines of a large record.")] = False,
    encoding: Encoding = None,
    channels: Channels = None,
    mapping: Mapping = None,
    flip: Flip = False,
    frequency: Frequency = None,
    rate: Rate = None,
    current_base: CurrentBase = None,
    voltage_base: VoltageBase = None,
) -> None:
    """Show how waveform files are read: power lines, channels, rates, frequency, defects and their treatment.

    A table lists each decision with its reason: the channels of every line, its base of per unit, the mains frequency,
    and the channels that are not used. The `--channels` below it assigns the same channels again.

    Examples:
    - `faultline inspect fault.cfg --plot fault.png`
    - `faultline inspect station.cff --channels "north: ia=4 ib=5 ic=6 va=1 vb=2 vc=3"`
    """
    from domains.powerline.waveforms import RecordError, open_waveforms
    from domains.powerline.waveforms.batch import expanded
    from faultline.cli.waveforms.options import read_options
    from model.errors import FaultlineError

    options = read_options(
        encoding=encoding,
        channels=channels,
        mapping=mapping,
        flip=flip,
        frequency_hz=frequency,
        rate_hz=rate,
        current_base=current_base,
        voltage_base=voltage_base,
    )
    files = expanded(files, options)
    if plot is not None and len(files) > 1:
        raise RecordError("--plot draws one file: give one file, or leave out --plot")
    failed = 0
    for path in files:
        try:
            record = open_waveforms(path, options=options)
            if as_json:
                print_json(as_body(record))
            else:
                show(record, everything=show_all)
            if plot is not None:
                from faultline.plots import plot_record

                plot_record(record, plot)
        except FaultlineError as error:
            failed += 1
            typer.echo(f"faultline: {error}", err=True)
    if failed:
        raise typer.Exit(1)


def as_body(record: Record) -> dict[str, Any]:
    """Return a record without its samples as the body of ``--json``."""
    from dataclasses import asdict

    segments = [
        {"samples": len(part), "rate_hz": part.rate_hz, "start_s": round(part.start_s, 9)} for part in record.segments
    ]
    return {
        "file": str(record.path),
        "format": record.format,
        "encoding": record.encoding,
        "station": record.station,
        "device": record.device,
        "start_ns": record.start_ns,
        "trigger_ns": record.trigger_ns,
        "header_hz": record.header_hz,
        "frequency_hz": round(record.frequency_hz, 4),
        "segments": segments,
        "channels": [asdict(channel) for channel in record.channels],
        "lines": [
            _line_body(line) | {"alternatives": [_line_body(other) for other in line.alternatives]}
            for line in record.lines
        ],
        "no_line": record.no_line,
        "decisions": [asdict(decision) for decision in record.decisions],
        "statements": [asdict(statement) for statement in record.statements],
        "findings": [asdict(finding) for finding in record.findings],
    }


def _line_body(line: RecordLine) -> dict[str, Any]:
    return {
        "name": line.name,
        "channels": dict(line.sources),
        "channels_option": line.channels_option,
        "missing": list(line.missing),
        "frequency_hz": round(line.frequency_hz, 4),
        "current_base": line.current_base,
        "voltage_base": line.voltage_base,
        "bases": line.base_source,
    }


def show(record: Record, *, everything: bool) -> None:
    """Print how a record was read; without ``everything`` the many channels of a large record are left out."""
    from rich.console import Console
    from rich.markup import escape

    from domains.powerline.waveforms.record import channels_argument

    console = Console(width=max(Console().width, TABLE_WIDTH), highlight=False)
    _show_head(console, record, everything=everything)
    lines = record.lines if everything else record.lines[:MOST_LINES]
    if lines or record.decisions:
        console.print(_decision_table(record, lines))
        _show_remaining(console, len(record.lines) - len(lines), "lines")
    if lines and len(lines) == len(record.lines):
        argument = channels_argument(line.channels_option for line in lines)
        console.print(escape(argument), soft_wrap=True)
    # Used channels come first, so that a large record shows them.
    channels = sorted(record.channels, key=lambda channel: channel.role.startswith("("))
    shown = channels if everything else channels[:MOST_CHANNELS]
    console.print(_channel_table(shown))
    _show_remaining(console, len(channels) - len(shown), "channels")
    for said in record.statements:
        console.print(f"the recorder says ({escape(said.source)}): {escape(said.text)}", soft_wrap=True)
    # The finding "bases" is shown with its line, the finding "no-line" below.
    for finding in (finding for finding in record.findings if finding.code not in ("bases", "no-line")):
        colour = "yellow" if finding.level == "warning" else "dim"
        console.print(f"[{colour}]{finding.level}[/]  {escape(str(finding))}", soft_wrap=True)
    if not record.lines:
        console.print(f"[yellow]no line[/]  {escape(record.no_line)}", soft_wrap=True)


def _show_head(console: Console, record: Record, *, everything: bool) -> None:
    from datetime import UTC, datetime

    from rich.markup import escape

    begun = datetime.fromtimestamp(record.start_ns / 1e9, UTC).isoformat(timespec="microseconds")
    place = ", ".join(part for part in (record.station, record.device) if part)
    console.print(f"[bold]{escape(str(record.path))}[/]  {record.format}" + (f", {escape(place)}" if place else ""))
    header = "" if record.header_hz is None else f" (header {record.header_hz:g} Hz)"
    text = f", text in {record.encoding}" if record.encoding else ""
    console.print(f"from {begun}, {record.frequency_hz:.3f} Hz{header}{text}")
    segments = record.segments if everything else record.segments[:MOST_SEGMENTS]
    for part in segments:
        console.print(f"  {len(part):>9,} samples at {part.rate_hz:g} Hz from {part.start_s:.6f} s")
    _show_remaining(console, len(record.segments) - len(segments), "segments")


def _show_remaining(console: Console, count: int, things: str) -> None:
    if count > 0:
        console.print(f"  … and {count:,} more {things} (--all shows them)")


def _decision_table(record: Record, lines: Sequence[RecordLine]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from faultline.cli.waveforms.decisions import Row, rows_of_line, rows_of_record, unused_rows

    table = Table("channels", "use", "reason")

    def add(rows: Sequence[Row], title: str = "", style: str | None = None) -> None:
        if title:
            table.add_row(f"[bold]{escape(title)}[/]")
        for row in rows:
            table.add_row(*(escape(text) for text in (row.channels, row.use, row.reason)), style=style)
        table.add_section()

    for line in lines:
        add(rows_of_line(record, line), title=line.name)
    add(rows_of_record(record))
    add(unused_rows(record), style="dim")
    return table


def _channel_table(channels: Sequence[ChannelSummary]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table("no", "channel", "unit", "ph", "used as", "lowest", "highest", "rms", "missing")
    for channel in channels:
        numbers = (f"{value:.5g}" for value in (channel.lowest, channel.highest, channel.rms))
        names = (escape(text) for text in (channel.name, channel.unit, channel.phase, channel.role))
        table.add_row(str(channel.number), *names, *numbers, str(channel.missing or ""))
    return table
