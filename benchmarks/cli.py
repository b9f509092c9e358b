"""Command line of ``python -m benchmarks``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model.errors import FaultlineError

if TYPE_CHECKING:
    from benchmarks.throughput.harness import BenchOptions

app = typer.Typer(
    help="Compare Faultline with other ways to do the same job: one broker, one model, the same bytes.",
    rich_markup_mode="markdown",
)

QUICK_S = 4.0

Partitions = Annotated[int, typer.Option(help="Number of partitions of the input topic.", min=1, max=64)]
Model = Annotated[Path | None, typer.Option(help="Artefact to use instead of the shipped one.", show_default=False)]
Out = Annotated[Path | None, typer.Option(help="Write the results as JSON to this file.", show_default=False)]
Duration = Annotated[float, typer.Option(help="Approximate duration of one run in seconds.", min=1.0, max=3600.0)]


class MissingPackageError(FaultlineError):
    """A package that only the benchmarks need is not installed."""


def _numbers(text: str, most: int = 512) -> tuple[int, ...]:
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1 or max(found) > most:
        raise typer.BadParameter(f"{text!r} is not a list of numbers from 1 to {most}, e.g. 1,16,64")
    return found


@contextmanager
def _progress() -> Iterator[tuple[Callable[[str], None], Callable[[str], None]]]:
    """Yield two functions that print on standard error: the current step, and a measured result."""
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("starting") as status:
        yield (
            lambda text: status.update(text) if console.is_terminal else None,
            lambda text: console.print(text, highlight=False, soft_wrap=True),
        )


def _require_packages(*names: str, extra: str = "dev") -> None:
    from importlib.util import find_spec

    for name in ("psutil", *names):
        if find_spec(name) is None:
            raise MissingPackageError(f"the benchmark needs {name}: pip install 'faultline[{extra}]'")


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    only: Annotated[str, typer.Option(help="Contenders to run, separated by commas; Faultline always runs.")] = "",
    quick: Annotated[
        bool, typer.Option("--quick", help="Short runs of 4 s, with one window per message and without answers.")
    ] = False,
    windows_per_message: Annotated[
        str, typer.Option(help="Windows per message; one backlog is measured for each.")
    ] = "1,16,64",
    duration: Duration = 20.0,
    answers: Annotated[bool, typer.Option(help="Measure also with one answer per message.")] = True,
    latency: Annotated[bool, typer.Option(help="Measure also the latency under load.")] = True,
    partitions: Partitions = 4,
    model: Model = None,
    out: Out = None,
) -> None:
    """Measure throughput, latency, CPU time and memory of every contender, and the ratios to Faultline.

    The command starts Apache Kafka itself (it needs Java and, the first time, Maven). All contenders process the same
    backlog, in both orders. Throughput counts from the first to the last output that the broker appended.
    docs/benchmarks.md explains the figures.

    Example: `python -m benchmarks --only aiokafka_bare --windows-per-message 1,64 --out bench.json`
    """
    if context.invoked_subcommand is not None:
        return
    _require_packages()
    from benchmarks.throughput.harness import BenchOptions

    options = BenchOptions(
        only=tuple(name for name in only.split(",") if name),
        windows_per_message=(1,) if quick else _numbers(windows_per_message),
        duration_s=QUICK_S if quick else duration,
        answers=answers and not quick,
        latency=latency,
        partitions=partitions,
        artefact=_path(model),
    )
    _run(options, out)


def _run(options: BenchOptions, out: Path | None) -> None:
    from rich.console import Console

    from benchmarks.throughput.harness import as_json, run_bench
    from benchmarks.throughput.tables import guarantees, latency_table, throughput_table

    with _progress() as (say, note):
        results = run_bench(options, say, note)
    console = Console()
    console.print(throughput_table(results))
    if results.latencies:
        console.print(latency_table(results))
    for line in guarantees(results):
        console.print(line, highlight=False)
    if out is not None:
        out.write_text(as_json(options, results) + "\n")


def _finish(results: dict[str, object], out: Path | None) -> None:
    import json

    from benchmarks.harness.machine import machine, versions

    document = json.dumps({"machine": machine(), "versions": versions(), **results}, indent=2)
    print(document)
    if out is not None:
        out.write_text(document + "\n")


@app.command("hot-partition")
def hot_partition(
    rate: Annotated[float, typer.Option(help="Messages per second to the hot partition.", min=1.0)] = 1000.0,
    duration: Duration = 20.0,
    model: Model = None,
    out: Out = None,
) -> None:
    """Compare the latency of a hot partition beside idle ones with that of the hot one alone.

    Both are measured twice, in both orders.

    Example: `python -m benchmarks hot-partition --rate 2000`
    """
    _require_packages()
    from benchmarks.contenders import BY_NAME, OURS
    from benchmarks.throughput.harness import open_environment
    from benchmarks.throughput.latency import measure_latency

    found: dict[int, list[float]] = {1: [], 4: []}
    with _progress() as (say, note), open_environment(partitions=4, artefact=_path(model), say=say) as (environment, _):
        for partitions in (1, 4, 4, 1):
            one = measure_latency(
                environment,
                BY_NAME[OURS],
                messages_per_s=rate,
                seconds=duration,
                load=f"1 hot of {partitions}",
                topic_partitions=partitions,
                loaded_partitions=1,
            )
            found[partitions].append(one.appended_ms[1])
            note(f"{one.load}: p50 {one.appended_ms[0]:.1f}, p99 {one.appended_ms[1]:.1f} ms")
    alone, beside = min(found[1]), min(found[4])
    _finish({"p99_ms_alone": found[1], "p99_ms_beside_idle": found[4], "ratio": round(beside / alone, 2)}, out)


@app.command()
def overload(
    rate: Annotated[
        float | None, typer.Option(help="Messages per second; when unset, twice the throughput of a first run.")
    ] = None,
    duration: Annotated[float, typer.Option(help="Seconds of overload.", min=1.0, max=3600.0)] = 60.0,
    partitions: Partitions = 4,
    model: Model = None,
    out: Out = None,
) -> None:
    """Send twice what a worker can process, and report memory, rebalances, lag and lost records.

    The exit status is 1 if memory grew, the group was rebalanced, or a record was lost.

    Example: `python -m benchmarks overload --duration 60`
    """
    _require_packages()
    from benchmarks.contenders import BY_NAME, OURS
    from benchmarks.throughput import endurance
    from benchmarks.throughput.harness import EXPECTED_PER_S, open_environment
    from benchmarks.throughput.throughput import measure_throughput

    with (
        _progress() as (say, note),
        open_environment(partitions=partitions, artefact=_path(model), say=say) as (environment, broker_pid),
    ):
        if rate is None:
            filled = environment.filled(BY_NAME[OURS], 10 * EXPECTED_PER_S[1], 1)
            capacity = measure_throughput(environment, BY_NAME[OURS], filled, 1, "answers", broker_pid).records_per_s
            note(f"capacity: {capacity:,.0f} messages/s")
            rate = 2 * capacity
        found = endurance.overload(environment, messages_per_s=rate, seconds=duration)
    _finish({"overload": found.as_dict(), "passed": found.passed}, out)
    raise typer.Exit(0 if found.passed else 1)


@app.command("two-workers")
def two_workers(
    duration: Duration = 20.0,
    windows_per_message: Annotated[int, typer.Option(help="Windows in every message.", min=1, max=512)] = 16,
    partitions: Partitions = 4,
    model: Model = None,
    out: Out = None,
) -> None:
    """Compare the throughput of two workers of one group with that of one, on the same backlog.

    Each worker has one inference thread.

    Example: `python -m benchmarks two-workers --windows-per-message 16`
    """
    _require_packages()
    from benchmarks.throughput import endurance
    from benchmarks.throughput.harness import EXPECTED_PER_S, open_environment

    per_s = max(rate for least, rate in EXPECTED_PER_S.items() if windows_per_message >= least)
    with (
        _progress() as (say, _),
        open_environment(partitions=partitions, artefact=_path(model), say=say) as (environment, _pid),
    ):
        found = endurance.two_workers(
            environment, windows=round(per_s * duration), windows_per_message=windows_per_message
        )
    _finish({"two_workers": found.as_dict()}, out)


@app.command()
def engine(
    batches: Annotated[str, typer.Option(help="Numbers of windows per call.")] = "1,16,64,256,1024,4096",
    turns: Annotated[int, typer.Option(help="Runs of every contender, in alternating order.", min=1)] = 6,
    seconds: Annotated[float, typer.Option(help="Duration of one run in seconds.", min=0.05, max=60.0)] = 0.4,
    only: Annotated[
        str, typer.Option(help="Runtimes to run (onnxruntime, openvino, keras), separated by commas; all when unset.")
    ] = "",
    model: Model = None,
    out: Out = None,
) -> None:
    """Compare the engine, without a broker, with keras, ONNX Runtime, OpenVINO and bare matrix products.

    The comparison runs twice: with the whole model, and with the same network without the phasors. A batch has one
    window of each of as many lines. The command ends with an error if a runtime gives other probabilities than the
    engine.

    Example: `python -m benchmarks engine --batches 64,1024 --out engine.json`
    """
    _require_packages("onnx", "onnxruntime", "openvino", extra="bench")
    from rich.console import Console

    from benchmarks.engine.run import run

    wanted = tuple(name for name in only.split(",") if name)
    with _progress() as (say, _):
        document, tables = run(_path(model), wanted, _numbers(batches, most=65536), turns, seconds, say)
    console = Console()
    for table in tables:
        console.print(table)
    if out is not None:
        out.write_text(document + "\n")


def _path(model: Path | None) -> str | None:
    return None if model is None else str(model.resolve())


@app.command()
def sizing(
    unit_costs: Annotated[
        Path, typer.Option(help="JSON result of `python -m benchmarks`, or a JSON file of unit costs.", exists=True)
    ],
    lines: Annotated[str, typer.Option(help="Numbers of power lines.")] = "100,1000,10000,100000,1000000",
    rates: Annotated[str, typer.Option(help="Windows per second of one line.")] = "200,50,1",
    assume: Annotated[
        list[str] | None, typer.Option(help="Change an assumption, e.g. windows_per_message=16; may be repeated.")
    ] = None,
    into: Annotated[
        Path | None, typer.Option(help="Markdown document whose tables are replaced; printed when unset.", exists=True)
    ] = None,
    costs_out: Annotated[Path | None, typer.Option(help="Write only the unit costs as JSON to this file.")] = None,
) -> None:
    """Compute the partitions, workers, brokers and GPUs that a number of lines needs, and the first bottlenecks.

    The figures follow from measured unit costs.

    Example: `python -m benchmarks sizing --unit-costs bench.json --lines 5000 --rates 200`
    """
    import json

    from pydantic import ValidationError

    from benchmarks.sizing.sizing import Assumptions
    from benchmarks.sizing.sizing_text import replace_in, sizing_markdown
    from benchmarks.sizing.unit_costs import SizingError, UnitCosts

    try:
        document = json.loads(unit_costs.read_text("utf-8"))
    except ValueError:
        raise SizingError(f"{unit_costs} is not JSON; give a file written by python -m benchmarks --out") from None
    costs = UnitCosts.from_bench(document)
    try:
        given = Assumptions.model_validate(dict(one.split("=", 1) for one in assume or ()))
        tables = sizing_markdown(
            costs, given, [int(one) for one in lines.split(",")], [float(one) for one in rates.split(",")]
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise SizingError(f"--assume {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except ValueError as error:
        raise SizingError(f"--lines, --rates and --assume must be numbers: {error}") from None
    if costs_out is not None:
        costs_out.write_text(costs.model_dump_json(indent=2) + "\n")
    if into is None:
        print(tables)
    else:
        replace_in(into, tables)
