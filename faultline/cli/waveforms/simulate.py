"""Define ``faultline simulate``, which writes recordings and data sets of simulated power lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from training.data.episodes import Scenario

# Unix time at which every recording starts, so that the same seed writes the same bytes; `replay --restamp` shifts it.
START_NS = 1_700_000_000_000_000_000


def simulate(
    out: Annotated[Path, typer.Option(help="Recording to write (Parquet), for `faultline replay`.")] = Path(
        "simulated.parquet"
    ),
    lines: Annotated[int, typer.Option(min=1, max=10_000, help="Number of power lines.")] = 24,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of the recording, seconds.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Seed: the same seed writes the same recording.")] = 7,
    hz: Annotated[int, typer.Option(help="Nominal frequency, Hz: 50 or 60.")] = 50,
    events: Annotated[
        Path | None, typer.Option(help="Also write the simulated faults and disturbances to this JSON file.")
    ] = None,
    topic: Annotated[str, typer.Option(help="Topic name that is stored with the windows.")] = "sensor-windows",
    windows_per_message: Annotated[int, typer.Option(min=1, help="Windows in one message.")] = 4,
    dataset: Annotated[
        Path | None, typer.Option(help="Write a training data set of episodes (Parquet) instead of a recording.")
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes in the data set, each of a different line.")] = 4096,
    cycles: Annotated[float, typer.Option(min=3, help="Length of an episode, mains cycles.")] = 40.0,
    harsh: Annotated[
        bool, typer.Option("--harsh", help="Simulate the data set with faulty instruments and noise down to 8 dB.")
    ] = False,
) -> None:
    """Simulate lines with faults of every type and disturbances that are not faults, and record their windows.

    Every message carries the true classes of its windows, so that a replay can be scored. It is also marked as
    simulated, so that the trainer does not store its windows as those of production. With --dataset the command writes
    labelled episodes of 50 and 60 Hz with all their parameters instead.

    Examples:
    - `faultline simulate --lines 24 --seconds 60 --seed 7 --out rec.parquet`
    - `faultline simulate --dataset episodes.parquet --episodes 4096`
    """
    if dataset is not None:
        _write_dataset(dataset, episodes, seed, cycles, harsh)
        return
    from domains.powerline.data.scenario import scenario

    record = scenario(lines, seconds, seed, hz)
    messages = _write(record, out, topic, windows_per_message)
    if events is not None:
        _write_events(record, events)
    faults = sum(event.kind == "fault" for event in record.events)
    typer.echo(
        f"{out}: {lines} lines, {seconds:g} s, {messages} messages,"
        f" {faults} faults, {len(record.events) - faults} other disturbances"
    )


def _write_dataset(path: Path, episodes: int, seed: int, cycles: float, harsh: bool) -> None:
    from domains.powerline.data.datasets import DataSetRecipe, open_dataset, write_dataset

    instruments: Literal["harsh", "usual"] = "harsh" if harsh else "usual"
    write_dataset(path, DataSetRecipe(episodes=episodes, seed=seed, length_cycles=cycles, instruments=instruments))
    faults = int((open_dataset(path).index["kind"] == "fault").sum())
    typer.echo(f"{path}: {episodes} episodes of {cycles:g} cycles, {faults} of them faults")


def _write(record: Scenario, out: Path, topic: str, windows_per_message: int) -> int:
    """Write the messages of all lines in order of time, as a broker would receive them; return their number."""
    from heapq import merge

    from model.spec import load_spec
    from stream.recordings.recording import RecordedMessage, RecordingWriter
    from stream.windowing import SIMULATED_HEADERS, window_messages

    spec = load_spec("line")
    streams = [
        window_messages(
            line_id(number),
            samples,
            spec,
            rate_hz=record.rate_hz,
            start_ns=START_NS,
            windows_per_message=windows_per_message,
            labels=labels,
        )
        for number, (samples, labels) in enumerate(zip(record.samples, record.labels, strict=True))
    ]
    with RecordingWriter(out) as writer:
        for offset, message in enumerate(merge(*streams, key=lambda m: m.end_ns)):
            time_ms = message.end_ns // 1_000_000
            key = message.line.encode()
            writer.write(RecordedMessage(topic, 0, offset, time_ms, key, message.value, SIMULATED_HEADERS))
    return writer.count


def _write_events(record: Scenario, path: Path) -> None:
    import json

    from training.errors import DataSetError

    entries = [
        {
            "line": line_id(event.line),
            "kind": event.kind,
            "classes": list(event.classes),
            "start_s": event.start / record.rate_hz,
            "stop_s": event.stop / record.rate_hz,
            "parameters": event.parameters,
        }
        for event in record.events
    ]
    try:
        path.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataSetError(f"{path}: cannot be written: {error.strerror}") from error


def line_id(number: int) -> str:
    """Return the id of a simulated line, which is the key of its messages."""
    return f"line-{number:04d}"
