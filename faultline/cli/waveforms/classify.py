"""Define ``faultline classify``, which finds faults in waveform files without a broker."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faultline.cli.completion import model_names
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
from faultline.output import print_json, print_table, progress_bar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from faultline.answers import FileResult, LineAnswer
    from model.spec import SignalSpec

TABLE_WIDTH = 132
NOT_JUDGED_STATUS = 4
"""Exit status if every file was read, but at least one of its lines was not judged; 1 and 2 mean errors."""


def classify(
    files: Files,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per episode, and one per line without a fault.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            autocompletion=model_names, help="Path of an artefact, or name of a shipped one.", show_default="line"
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Folder for one PNG per power line: waveforms, episodes and probabilities."),
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Files read at the same time [default: one per core].")] = (
        None
    ),
    quiet: Annotated[bool, typer.Option("--quiet", help="Show neither progress nor warnings.")] = False,
    encoding: Encoding = None,
    channels: Channels = None,
    mapping: Mapping = None,
    flip: Flip = False,
    frequency: Frequency = None,
    rate: Rate = None,
    current_base: CurrentBase = None,
    voltage_base: VoltageBase = None,
) -> None:
    """Find the faults in waveform files with the detection of a worker; no broker is needed.

    Every line gets a verdict: fault, no fault, or not judged with the reason, for example that the record is shorter
    than a cycle. The exit status is 1 if a file cannot be read (the others are still classified), else 4 if a line was
    not judged. `faultline inspect` shows how a file is read.

    Examples:
    - `faultline classify fault.cfg --plot pictures/`
    - `faultline classify records/*.cfg --json | jq -r '.fault_class // .verdict'`
    """
    import os

    # On import, TensorFlow logs to standard error, which also shows the progress bar.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    import time

    from domains.powerline.waveforms.batch import expanded
    from faultline.cli.waveforms.options import read_options
    from faultline.file_detection import BUCKETS, detect, load_artefact
    from model.engine import Engine

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
    results: list[FileResult] = []
    with Engine(load_artefact(model), buckets=BUCKETS) as engine:
        if len(files) > 1:
            engine.warm()
        began = time.perf_counter()
        counts = _Counts()
        drawn: Counter[str] = Counter()
        for result in _with_bar(detect(files, model=engine, options=options, jobs=jobs), len(files), quiet):
            counts.add(result)
            if as_json:
                for body in as_bodies(result):
                    print_json(body, compact=True)
            else:
                results.append(_without_samples(result))
            _print_findings(result, quiet=quiet)
            if plot is not None:
                _draw(result, engine.spec, plot, drawn)
        seconds = time.perf_counter() - began
    if not as_json:
        _show(results)
    if not quiet:
        typer.echo(counts.in_words(seconds), err=True)
    if counts.failed:
        raise typer.Exit(1)
    if not counts.is_complete:
        raise typer.Exit(NOT_JUDGED_STATUS)


def as_bodies(result: FileResult) -> Iterator[dict[str, Any]]:
    """Yield the bodies of ``--json``: one per episode in order of inception, then one per line without a fault.

    A file without a line gives one body, whose line is null; a file that cannot be read gives none.
    """
    if result.error is not None or result.record is None:
        return
    said = [{"source": one.source, "text": one.text} for one in result.record.statements]
    findings = {answer.line.name: [str(finding) for finding in answer.findings] for answer in result.answers}
    for episode in result.episodes:
        body = {**episode.model_dump(mode="json"), "verdict": "fault"}
        yield {**body, "findings": findings[episode.line], "recorder_says": said}
    without = {"file": str(result.path), "fault_class": None}
    for answer in result.answers:
        if answer.verdict != "fault":
            yield {
                **without,
                "line": answer.line.name,
                "verdict": answer.verdict,
                "reason": answer.reason,
                "windows": answer.windows,
                "judged_windows": answer.judged_windows,
                "findings": findings[answer.line.name],
                "recorder_says": said,
            }
    if not result.answers:
        nothing = {"windows": 0, "judged_windows": 0, "findings": []}
        yield {
            **without,
            "line": None,
            "verdict": result.verdict,
            "reason": result.reason,
            **nothing,
            "recorder_says": said,
        }


class _Counts:
    """Counts of files, episodes and windows for the summary line."""

    def __init__(self) -> None:
        self.files = self.failed = self.not_judged = self.episodes = self.windows = self.unknown = 0
        self.is_complete = True
        """True if every line of every file that could be read was judged."""

    def add(self, result: FileResult) -> None:
        """Add the counts of one file."""
        self.files += 1
        self.failed += result.error is not None
        self.not_judged += result.error is None and result.verdict == "not judged"
        verdicts = {result.verdict, *(answer.verdict for answer in result.answers)}
        self.is_complete &= "not judged" not in verdicts
        self.episodes += len(result.episodes)
        self.windows += result.windows
        self.unknown += result.outcomes["unknown"]

    def in_words(self, seconds: float) -> str:
        """Return the counts as one line."""
        parts = [f"{self.failed:,} failed"] * (self.failed > 0)
        parts += [f"{self.not_judged:,} not judged"] * (self.not_judged > 0)
        without = f" ({', '.join(parts)})" if parts else ""
        unknown = f", {self.unknown:,} of them out of distribution," if self.unknown else ""
        rate = f"{self.windows / seconds:,.0f} windows/s" if seconds > 0 else ""
        return (
            f"{_many(self.files, 'file')}{without}, {_many(self.episodes, 'episode')}; "
            f"{self.windows:,} windows{unknown} in {seconds:.1f} s ({rate})"
        )


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _without_samples(result: FileResult) -> FileResult:
    """Return a result without its waveforms, so that thousands of results fit into memory before the table is shown."""
    from dataclasses import replace

    import numpy as np

    nothing = np.empty((0, 6), np.float32)
    answers = tuple(
        replace(answer, line=replace(answer.line, samples=nothing, alternatives=())) for answer in result.answers
    )
    record = None if result.record is None else replace(result.record, channels=(), lines=(), findings=(), decisions=())
    return replace(result, record=record, answers=answers)


def _with_bar(results: Iterator[FileResult], total: int, quiet: bool) -> Iterator[FileResult]:
    """Yield the results while a progress bar is shown."""
    with progress_bar(total=total, quiet=quiet) as bar:
        for number, result in enumerate(results, 1):
            bar.update(f"{number} of {total}, {result.path.name}", advance=1)
            yield result


def _print_findings(result: FileResult, *, quiet: bool) -> None:
    """Print a file's error or warnings on standard error."""
    if result.error is not None:
        typer.echo(f"faultline: {result.error}", err=True)
    elif result.record is not None and not quiet:
        for finding in result.record.findings:
            # The reason why a file has no line stands in the table.
            if finding.level == "warning" and finding.message != result.record.no_line:
                typer.echo(f"{result.path.name}: {finding}", err=True)


def _draw(result: FileResult, spec: SignalSpec, folder: Path, drawn: Counter[str]) -> None:
    from faultline.plots import is_plotted, plot_answer, plot_record

    if result.record is None:
        return
    for answer in result.answers:
        plot_answer(result.record, answer, spec, _picture(folder, answer.line.name, drawn))
    if not result.answers and is_plotted(result.record):
        plot_record(result.record, _picture(folder, result.path.stem, drawn))


def _picture(folder: Path, name: str, drawn: Counter[str]) -> Path:
    """Return the path of the picture of a line; lines with the same name get a number, so that none is overwritten."""
    name = name.replace("/", " ")
    drawn[name] += 1
    number = f" {drawn[name]}" if drawn[name] > 1 else ""
    return folder / f"{name}{number}.png"


def _show(results: list[FileResult]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("file", "line", "fault", "phases", "ground", "inception", "duration", "confidence", "quality")
    below: list[str] = []
    for result in results:
        _add_episodes(table, result)
        _add_lines_without_fault(table, result)
        below += remarks(result)
    print_table(table, TABLE_WIDTH)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for remark in below:
        console.print(remark)


def _add_episodes(table: Table, result: FileResult) -> None:
    from rich.markup import escape

    for episode in result.episodes:
        lasting = "to the end" if episode.duration_s is None else f"{1000 * episode.duration_s:.1f} ms"
        table.add_row(
            escape(result.path.name),
            escape(episode.line),
            " → ".join(episode.classes),
            episode.phases,
            f"{'yes' if episode.ground else 'no'} ({100 * episode.ground_probability:.0f} %)",
            f"{episode.inception_s:.5f} s",
            lasting,
            f"{100 * episode.confidence:.1f} %",
            ", ".join(episode.quality) or "good",
        )


def _add_lines_without_fault(table: Table, result: FileResult) -> None:
    """Add a row for each kind of answer other than a fault, with the lines that have it."""
    from rich.markup import escape

    if result.error is not None:
        table.add_row(escape(result.path.name), "", "[red]cannot be read[/]")
        return
    cells: dict[str, list[str]] = {}
    for answer in result.answers:
        if answer.verdict != "fault":
            cells.setdefault(_verdict_cell(answer), []).append(answer.line.name)
    if not result.answers:
        cells["[yellow]not judged[/]"] = [""]
    for cell, lines in cells.items():
        shown = lines[0] if len(lines) == 1 else f"{len(lines)} lines"
        table.add_row(escape(result.path.name), escape(shown), cell)


def _verdict_cell(answer: LineAnswer) -> str:
    if answer.verdict == "not judged":
        return "[yellow]not judged[/]"
    if any(finding.code == "partly-judged" for finding in answer.findings):
        return "[yellow]no fault in the part that was judged[/]"
    return "[dim]no fault[/]"


def remarks(result: FileResult) -> Iterator[str]:
    """Yield the lines below the table: reasons, limits of the answers, and the recorder's own statements."""
    name = result.path.name
    if result.error is not None or result.record is None:
        return
    if not result.answers:
        yield f"{name}: not judged: {result.reason}"
    for answer in result.answers:
        if answer.verdict == "not judged":
            yield f"{name}: {answer.line.name}: not judged: {answer.reason}"
        for finding in answer.findings:
            if finding.level == "warning" or answer.verdict == "no fault":
                yield f"{name}: {finding}"
    for statement in result.record.statements:
        # A file's text may hold control characters, which a terminal would obey.
        text = "".join(letter if letter.isprintable() else " " for letter in statement.text)
        yield f"{name}: the recorder says ({statement.source}): {' '.join(text.split())}"
