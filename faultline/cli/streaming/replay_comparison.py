"""Print the comparison of two models on one recording, as tables or as JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from domains.powerline.waveforms import ReadOptions
from faultline.comparison import Comparison, EpisodePair, ModelEpisode, Tolerance, compare
from faultline.file_detection import load_artefact
from faultline.output import print_json, progress_bar
from stream.contract import NS_PER_S
from stream.recordings.sources import SourceOptions, open_replay
from stream.settings import Settings
from stream.telemetry.logs import configure_logs

DIFFER_STATUS = 3
"""Exit status if the models disagree; 1 and 2 mean errors."""
LINES_SHOWN = 5


def compare_on_file(
    settings: Settings,
    path: Path,
    models: tuple[str, str],
    options: SourceOptions,
    read: ReadOptions,
    tolerance: Tolerance,
    *,
    as_json: bool = False,
) -> None:
    """Compare two models on a file and print the result; exit with 3 if they disagree.

    Raises:
        ArtefactError: if a model cannot be used.
        RecordingError: if the file cannot be replayed.
        CompareError: if the file has no windows that both models can classify.
    """
    configure_logs(settings)
    first, second = (load_artefact(model) for model in models)
    source = open_replay(path, first.manifest.spec, options, read)
    with progress_bar(total=source.total) as bar:
        comparison = compare(
            source,
            first,
            second,
            topic=settings.topic_windows,
            tolerance=tolerance,
            progress=lambda records: bar.update(f"{records:,} records", completed=records),
        )
    if as_json:
        print_json(as_body(comparison, models))
    else:
        print_comparison(comparison, models)
    if not comparison.agree:
        raise typer.Exit(DIFFER_STATUS)


def as_body(comparison: Comparison, models: tuple[str, str]) -> dict[str, Any]:
    """Return the comparison as one JSON object."""
    body = comparison.model_dump(mode="json")
    for pair, dumped in zip(comparison.pairs, body["pairs"], strict=True):
        dumped["verdict"] = pair.relation
    return {"agree": comparison.agree, "files": list(models), "windows_differ": comparison.windows_differ, **body}


def print_comparison(comparison: Comparison, models: tuple[str, str]) -> None:
    """Print the episodes side by side, the windows that are classified differently, and if the models agree."""
    console = Console(highlight=False, soft_wrap=True)
    for which, name, model_id in zip(("first ", "second"), models, comparison.models, strict=True):
        console.print(f"{which}  {name}  ({model_id[:16]})")
    if comparison.pairs:
        console.print(_table(comparison))
    if comparison.not_judged:
        why = ", ".join(f"{count:,} {reason}" for reason, count in comparison.not_judged.items())
        console.print(f"records not classified (a worker would send them to the dead letters): {why}")
    share = comparison.windows_differ / comparison.windows
    console.print(
        f"{comparison.windows:,} windows, {comparison.windows_differ:,} ({share:.2%}) classified differently"
        + ("" if not comparison.lines else ", most of them on:")
    )
    for line in comparison.lines[:LINES_SHOWN]:
        at_s = (line.first_ns - comparison.begin_ns) / NS_PER_S
        console.print(f"  {line.line}: {line.differ:,} of {line.windows:,}, the first at {at_s:.3f} s")
    same = sum(pair.relation == "same" for pair in comparison.pairs)
    console.print(
        f"the models agree on all {same} episodes"
        if comparison.agree
        else f"the models differ on {len(comparison.pairs) - same} of {len(comparison.pairs)} episodes"
    )


def _table(comparison: Comparison) -> Table:
    begin = datetime.fromtimestamp(comparison.begin_ns / NS_PER_S, UTC).isoformat(sep=" ", timespec="milliseconds")
    table = Table(box=None, pad_edge=False, title_justify="left", title=f"times from {begin.replace('+00:00', 'Z')}")
    for name in ("time", "line", "first", "second", ""):
        table.add_column(name, justify="right" if name == "time" else "left", overflow="fold")
    for pair in comparison.pairs:
        at_s = (pair.at_ns - comparison.begin_ns) / NS_PER_S
        table.add_row(f"{at_s:.4f} s", pair.line, _cell(pair.first), _cell(pair.second), _relation(pair))
    return table


def _cell(episode: ModelEpisode | None) -> str:
    if episode is None:
        return "-"
    lasted = "not cleared" if episode.duration_s is None else f"{episode.duration_s * 1000:.0f} ms"
    return f"{episode.fault_class} {episode.confidence:.0%} {lasted}"


def _relation(pair: EpisodePair) -> str:
    return "same" if pair.relation == "same" else "; ".join(pair.differences)
