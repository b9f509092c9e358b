"""Define ``faultline classify``, which finds faults in waveform files without a broker."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faultline.cli.completion import model_names
from faultline.cli.waveforms.options import Channels, CurrentBase, Encoding, Flip, Frequency, Mapping, Rate, VoltageBase
from faultline.output import print_table, progress_bar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faultline.file_detection import FileResult
    from model.spec import SignalSpec

TABLE_WIDTH = 132


def classify(
    files: Annotated[list[Path], typer.Argument(help="COMTRADE (.cfg, .dat or .cff), CSV or Parquet files.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per episode.")] = False,
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

    If a file cannot be read, the others are still classified and the exit status is 1. `faultline inspect` shows how a
    file is read.

    Examples:
    - `faultline classify fault.cfg --plot pictures/`
    - `faultline classify records/*.cfg --json | jq -r .fault_class`
    """
    import os

    # On import, TensorFlow logs to standard error, which also shows the progress bar.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    import time

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
                for episode in result.episodes:
                    typer.echo(episode.model_dump_json())
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


class _Counts:
    """Counts of files, episodes and windows for the summary line."""

    def __init__(self) -> None:
        self.files = self.failed = self.episodes = self.windows = self.unknown = 0

    def add(self, result: FileResult) -> None:
        """Add the counts of one file."""
        self.files += 1
        self.failed += result.error is not None
        self.episodes += len(result.episodes)
        self.windows += result.windows
        self.unknown += result.outcomes["unknown"]

    def in_words(self, seconds: float) -> str:
        """Return the counts as one line."""
        failed = f" ({self.failed} failed)" if self.failed else ""
        unknown = f", {self.unknown:,} of them out of distribution," if self.unknown else ""
        rate = f"{self.windows / seconds:,.0f} windows/s" if seconds > 0 else ""
        return (
            f"{_many(self.files, 'file')}{failed}, {_many(self.episodes, 'episode')}; "
            f"{self.windows:,} windows{unknown} in {seconds:.1f} s ({rate})"
        )


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _without_samples(result: FileResult) -> FileResult:
    """Return a result without its waveforms, so that thousands of results fit into memory before the table is shown."""
    from dataclasses import replace

    import numpy as np

    answers = tuple(
        replace(answer, line=replace(answer.line, samples=np.empty((0, 6), np.float32))) for answer in result.answers
    )
    return replace(result, record=None, answers=answers)


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
            if finding.level == "warning":
                typer.echo(f"{result.path.name}: {finding}", err=True)


def _draw(result: FileResult, spec: SignalSpec, folder: Path, drawn: Counter[str]) -> None:
    from faultline.plots import plot_answer

    if result.record is None:
        return
    for answer in result.answers:
        if len(answer.window_end_s):
            name = answer.line.name.replace("/", " ")
            drawn[name] += 1
            # Lines with the same name in several files get a number, so that no picture is overwritten.
            number = f" {drawn[name]}" if drawn[name] > 1 else ""
            plot_answer(result.record, answer, spec, folder / f"{name}{number}.png")


def _show(results: list[FileResult]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("file", "line", "fault", "phases", "ground", "inception", "duration", "confidence", "quality")
    for result in results:
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
        if not result.episodes:
            what = "cannot be read" if result.error is not None else "no fault"
            table.add_row(escape(result.path.name), "", f"[dim]{what}[/]", *[""] * 6)
    print_table(table, TABLE_WIDTH)
