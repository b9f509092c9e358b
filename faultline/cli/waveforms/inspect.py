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
    from domains.powerline.waveforms import Record

TABLE_WIDTH = 110
MOST_SEGMENTS = 12


def inspect(
    files: Files,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per file.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the waveforms to this PNG file (one input file only).")] = (
        None
    ),
    encoding: Encoding = None,
    channels: Channels = None,
    mapping: Mapping = None,
    flip: Flip = False,
    frequency: Frequency = None,
    rate: Rate = None,
    current_base: CurrentBase = None,
    voltage_base: VoltageBase = None,
) -> None:
    """Show how waveform files are read: channels, rates, frequency, power lines, defects found and their treatment.

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
                _show(record)
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
    lines = [
        {
            "name": line.name,
            "channels": dict(line.sources),
            "missing": list(line.missing),
            "frequency_hz": round(line.frequency_hz, 4),
            "current_base": line.current_base,
            "voltage_base": line.voltage_base,
            "bases": line.base_source,
        }
        for line in record.lines
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
        "lines": lines,
        "findings": [asdict(finding) for finding in record.findings],
        "statements": [asdict(said) for said in record.statements],
    }


def _show(record: Record) -> None:
    from datetime import UTC, datetime

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(width=max(Console().width, TABLE_WIDTH), highlight=False)
    begun = datetime.fromtimestamp(record.start_ns / 1e9, UTC).isoformat(timespec="microseconds")
    place = ", ".join(part for part in (record.station, record.device) if part)
    console.print(f"[bold]{escape(str(record.path))}[/]  {record.format}" + (f", {escape(place)}" if place else ""))
    header = "" if record.header_hz is None else f" (header {record.header_hz:g} Hz)"
    text = f", text in {record.encoding}" if record.encoding else ""
    console.print(f"from {begun}, {record.frequency_hz:.3f} Hz{header}{text}")
    for part in record.segments[:MOST_SEGMENTS]:
        console.print(f"  {len(part):>9,} samples at {part.rate_hz:g} Hz from {part.start_s:.6f} s")
    if len(record.segments) > MOST_SEGMENTS:
        console.print(f"  … and {len(record.segments) - MOST_SEGMENTS} more segments")
    table = Table("no", "channel", "unit", "ph", "used as", "lowest", "highest", "rms", "missing")
    for channel in record.channels:
        numbers = (f"{value:.5g}" for value in (channel.lowest, channel.highest, channel.rms))
        names = (escape(text) for text in (channel.name, channel.unit, channel.phase, channel.role))
        table.add_row(str(channel.number), *names, *numbers, str(channel.missing or ""))
    console.print(table)
    for line in record.lines:
        console.print(f"line [bold]{escape(line.name)}[/]: {line.base_source}")
    for said in record.statements:
        console.print(f"the recorder says ({escape(said.source)}): {escape(said.text)}", soft_wrap=True)
    # The finding "bases" is shown with its line above.
    for finding in (finding for finding in record.findings if finding.code != "bases"):
        colour = "yellow" if finding.level == "warning" else "dim"
        console.print(f"[{colour}]{finding.level}[/]  {escape(str(finding))}", soft_wrap=True)
