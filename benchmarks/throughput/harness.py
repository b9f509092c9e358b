"""Run all contenders in order, then in reverse order, then measure latencies."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.contenders import BY_NAME, CONTENDERS, OURS, Contender
from benchmarks.engine.alone import EngineRun
from benchmarks.harness.broker import BenchError, new_server
from benchmarks.harness.environment import Environment
from benchmarks.harness.load import Faults
from benchmarks.harness.machine import machine, versions
from benchmarks.throughput.latency import Latency, measure_latency
from benchmarks.throughput.throughput import Drained, measure_throughput

LOADS = (0.25, 0.5, 0.8)
EXPECTED_PER_S = {1: 20_000, 8: 45_000}
"""Expected windows/s of the fastest contender by windows per message, which determine the size of the backlog."""
ENGINE_DEADLINE_S = 180.0


@dataclass(frozen=True)
class BenchOptions:
    """Options of a benchmark.

    Attributes:
        only: names of contenders; all if empty. Faultline always runs.
        windows_per_message: numbers of windows per message, with one backlog for each.
        duration_s: approximate time of the fastest contender for a backlog, and of each latency run.
        answers: measure also with one answer per message instead of events only.
        latency: measure also latencies, with one window per message.
        partitions: number of partitions of every topic.
        artefact: path of the model; the shipped one if None.
    """

    only: tuple[str, ...] = ()
    windows_per_message: tuple[int, ...] = (1, 16, 64)
    duration_s: float = 20.0
    answers: bool = True
    latency: bool = True
    partitions: int = 4
    artefact: str | None = None

    def __post_init__(self) -> None:
        """Check the names of contenders."""
        if unknown := sorted(set(self.only) - BY_NAME.keys()):
            raise BenchError(f"unknown contender {', '.join(unknown)}: choose from {', '.join(BY_NAME)}")

    @property
    def contenders(self) -> list[Contender]:
        """Contenders to run, Faultline first."""
        return [one for one in CONTENDERS if one.name == OURS or not self.only or one.name in self.only]


@dataclass
class Results:
    """Results in the order of the runs."""

    drained: list[Drained] = field(default_factory=list)
    latencies: list[Latency] = field(default_factory=list)
    engine_per_s: list[float] = field(default_factory=list)
    engine_cpu_s_per_million: list[float] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Contenders that could not be measured, with the reason."""

    def runs(self, contender: str, windows_per_message: int, publish: str) -> list[Drained]:
        """Return the runs of one kind."""
        key = (contender, windows_per_message, publish)
        return [one for one in self.drained if (one.contender, one.windows_per_message, one.publish) == key]

    def per_s(self, contender: str, windows_per_message: int, publish: str) -> float | None:
        """Return the median windows/s; None without runs."""
        found = self.runs(contender, windows_per_message, publish)
        return statistics.median(one.windows_per_s for one in found) if found else None

    def ratio(self, contender: str, windows_per_message: int, publish: str) -> float | None:
        """Return the median ratio of Faultline's windows/s to the contender's in the same turn; None without runs."""
        ours = self.runs(OURS, windows_per_message, publish)
        theirs = self.runs(contender, windows_per_message, publish)
        ratios = [a.windows_per_s / b.windows_per_s for a, b in zip(ours, theirs, strict=False)]
        return statistics.median(ratios) if ratios else None


@contextmanager
def open_environment(
    *, partitions: int, artefact: str | None, say: Callable[[str], None]
) -> Iterator[tuple[Environment, int | None]]:
    """Yield an environment on a new broker, and the broker's process id; both are removed afterwards.

    Raises:
        KafkaServerError: Java or Maven is missing; the message says what to install.
    """
    with tempfile.TemporaryDirectory(prefix="faultline-bench-") as folder:
        say("starting Apache Kafka")
        with new_server(Path(folder) / "kafka") as kafka:
            yield Environment(kafka.bootstrap, Path(folder), partitions, artefact, say), kafka.pid


def run_bench(options: BenchOptions, say: Callable[[str], None], note: Callable[[str], None]) -> Results:
    """Measure everything that the options ask for.

    Args:
        options: options of the benchmark.
        say: called with a description of the current step.
        note: called with the result of each run.
    """
    results = Results()
    with open_environment(partitions=options.partitions, artefact=options.artefact, say=say) as (
        environment,
        broker_pid,
    ):
        _engine_alone(results, environment)
        note(f"{'engine alone':34} {results.engine_per_s[-1]:10,.0f} windows/s")
        for windows_per_message in options.windows_per_message:
            _throughput(results, environment, options, windows_per_message, broker_pid, note)
        _engine_alone(results, environment)
        if options.latency:
            _latencies(results, environment, options, note)
    return results


def _throughput(
    results: Results,
    environment: Environment,
    options: BenchOptions,
    windows_per_message: int,
    broker_pid: int | None,
    note: Callable[[str], None],
) -> None:
    per_s = max(rate for least, rate in EXPECTED_PER_S.items() if windows_per_message >= least)
    windows = round(per_s * options.duration_s)
    order = [
        (contender, publish)
        for contender in options.contenders
        for publish in ("events", "answers")
        if (publish == "events" or (options.answers and contender.serious))
        # A contender that predicts each event takes a second where others take a millisecond: one run is enough.
        and (contender.serious or windows_per_message == options.windows_per_message[0])
    ]
    for contender, publish in [*order, *reversed(order)]:
        if contender.name in results.failed:
            continue
        try:
            filled = environment.filled(contender, windows, windows_per_message)
            found = measure_throughput(environment, contender, filled, windows_per_message, publish, broker_pid)
        except BenchError as error:
            if contender.name == OURS:
                raise
            results.failed[contender.name] = str(error)
            note(f"{contender.title:34} failed: {error}")
            continue
        results.drained.append(found)
        note(
            f"{contender.title:34} {found.windows_per_s:10,.0f} windows/s  "
            f"{windows_per_message} per message, {publish}, {found.cpu_s_per_million:,.0f} CPU s per million"
        )


def _engine_alone(results: Results, environment: Environment) -> None:
    environment.say("measuring the engine alone")
    path = environment.folder / "engine-alone.json"
    path.write_text(EngineRun(samples=str(environment.samples), artefact=environment.artefact).model_dump_json())
    command = [sys.executable, "-m", "benchmarks.engine.alone", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=ENGINE_DEADLINE_S)
    if done.returncode:
        raise BenchError(f"the engine alone failed: {(done.stderr.splitlines() or ['no message'])[-1]}")
    rate, cpu_s = done.stdout.split()[-2:]
    results.engine_per_s.append(float(rate))
    results.engine_cpu_s_per_million.append(float(cpu_s))


def _latencies(results: Results, environment: Environment, options: BenchOptions, note: Callable[[str], None]) -> None:
    """Measure each contender at shares of its maximum, and all at a rate that the slowest serious one sustains."""
    first = options.windows_per_message[0]
    maxima = {
        contender.name: rate / first
        for contender in options.contenders
        if contender.serious and (rate := results.per_s(contender.name, first, "events")) is not None
    }
    common = min(maxima.values()) / 2
    for name, most in maxima.items():
        loads: list[tuple[str, float, Faults]] = [(f"{part:.0%}", part * most, "often") for part in LOADS]
        # The quiet grid, with few events, and the storm at the same rate.
        loads += [("quiet", common, "rare"), ("same", common, "often")]
        for load, rate, faults in loads:
            found = measure_latency(
                environment,
                BY_NAME[name],
                messages_per_s=rate,
                seconds=options.duration_s,
                load=load,
                windows_per_message=first,
                faults=faults,
            )
            results.latencies.append(found)
            p50, p99, p999 = found.appended_ms
            note(
                f"{BY_NAME[name].title:34} {rate:10,.0f} messages/s ({load})  "
                f"p50 {p50:,.1f}, p99 {p99:,.1f}, p99.9 {p999:,.1f} ms"
            )


def as_json(options: BenchOptions, results: Results) -> str:
    """Return all results as JSON, with machine and versions."""
    document: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "options": vars(options),
        "engine_alone_windows_per_s": [round(rate) for rate in results.engine_per_s],
        "engine_alone_cpu_s_per_million": results.engine_cpu_s_per_million,
        "throughput": [one.as_dict() for one in results.drained],
        "latency": [one.as_dict() for one in results.latencies],
        "failed": results.failed,
    }
    return json.dumps(document, indent=2)
