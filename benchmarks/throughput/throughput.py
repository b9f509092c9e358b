"""Throughput: how fast a contender takes a backlog that is there before it starts."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from benchmarks.contenders import Contender
from benchmarks.harness.broker import Appended, BenchError
from benchmarks.harness.environment import Environment, Filled
from benchmarks.harness.load import edge_messages
from benchmarks.harness.processes import Measured

POLL_S = 0.1
STUCK_S = 60.0


@dataclass(frozen=True)
class Drained:
    """One contender's run over a backlog.

    Attributes:
        windows_per_s: from the first to the last output that the broker appended.
        by_commits_per_s: the same from offsets: from the start of consuming until nothing is left uncommitted.
            Coarse by the interval of commits, and comparable where outputs are few.
        cpu_s_per_million: CPU seconds of the contender's processes per million windows, start-up left out.
        broker_cpu_s_per_million: the broker's meanwhile.
        peak_rss_mb: the largest sum over the contender's processes.
        cold_start_s: from the start of the process to the first output.
    """

    contender: str
    windows_per_message: int
    publish: str
    windows: int
    outputs: int
    windows_per_s: float
    records_per_s: float
    by_commits_per_s: float
    cpu_s_per_million: float
    broker_cpu_s_per_million: float
    peak_rss_mb: float
    cold_start_s: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measure_throughput(
    environment: Environment,
    contender: Contender,
    filled: Filled,
    windows_per_message: int,
    publish: str,
    broker_pid: int | None,
) -> Drained:
    """Let a contender take a backlog from beginning to end.

    Raises:
        BenchError: it ended, got stuck, or left records without an output that all must give.
    """
    settings, topics = environment.settings(
        contender,
        filled.topic,
        windows_per_message,
        publish=publish,
        batch_deadline_ms=contender.backlog_deadline_ms,
    )
    with environment.contender(contender, settings) as child:
        child.wait_ready()
        began_s, cpu_s, broker_s = time.monotonic(), child.cpu_s(), _cpu_s(broker_pid)
        until_committed(environment, child, settings.group, filled, environment.partitions)
        took_s = time.monotonic() - began_s
        cpu_s, broker_s = child.cpu_s() - cpu_s, _cpu_s(broker_pid) - broker_s
        child.stop()
        appended = environment.broker.appended(topics)
    _check(appended, environment, filled, edge_messages(environment.spec, windows_per_message), child)
    first_ms = int(appended.appended_ms.min())
    seconds = max(int(appended.appended_ms.max()) - first_ms, 1) / 1000
    environment.broker.delete(topics)
    return Drained(
        contender=contender.name,
        windows_per_message=windows_per_message,
        publish=publish,
        windows=filled.windows,
        outputs=len(appended),
        windows_per_s=filled.windows / seconds,
        records_per_s=filled.records / seconds,
        by_commits_per_s=filled.windows / took_s,
        cpu_s_per_million=cpu_s / filled.windows * 1e6,
        broker_cpu_s_per_million=broker_s / filled.windows * 1e6,
        peak_rss_mb=child.peak_rss / 1e6,
        cold_start_s=(first_ms - child.started_ms) / 1000,
    )


def _cpu_s(pid: int | None) -> float:
    if pid is None:
        return 0.0
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def until_committed(environment: Environment, child: Measured, group: str, filled: Filled, partitions: int) -> None:
    """Return when a group has committed all of a topic.

    Raises:
        BenchError: the process has ended, or commits nothing any more.
    """
    moved_s, before = time.monotonic(), -1
    while True:
        committed = environment.broker.committed(group, filled.topic, partitions)
        if committed >= filled.records:
            return
        child.check()
        if committed != before:
            moved_s, before = time.monotonic(), committed
            environment.say(f"{child.name}: {committed:,} of {filled.records:,} records")
        if time.monotonic() - moved_s > STUCK_S:
            raise BenchError(f"{child.name} committed nothing for {STUCK_S:.0f} s with {committed} of {filled.records}")
        time.sleep(POLL_S)


def _check(appended: Appended, environment: Environment, filled: Filled, edge: int, child: Measured) -> None:
    """Every partition's last messages tell of a sure fault, which every contender must have published."""
    last = filled.records // environment.partitions - edge
    for partition in range(environment.partitions):
        if not (appended.offset[appended.partition == partition] >= last).any():
            raise BenchError(
                f"{child.name} published nothing of the last messages of partition {partition}: {child.log}"
            )
