"""Measure Faultline under twice the load that it can process, and with a second worker."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.contenders import BY_NAME, OURS
from benchmarks.harness.environment import LOAD_DEADLINE_S, Environment, Filled
from benchmarks.harness.processes import Measured
from benchmarks.throughput.throughput import until_committed

ASSIGNED = "partitions-assigned"
FIRST_THIRD = 1 / 3
QUICK_COMMITS_S = 0.2
"""Interval of commits in these runs, short since committed offsets show the progress of workers."""
DRAIN_DEADLINE_S = 600.0


@dataclass(frozen=True)
class Overload:
    """Result of an overload.

    Attributes:
        messages_per_s: rate of the sender.
        seconds: duration of the overload.
        records: number of records sent.
        rss_mb_early: largest memory in the first third of the overload; compared with ``rss_mb`` it shows growth.
        rss_mb: largest memory in the whole run.
        lag: uncommitted records when the sender ended.
        assignments: number of assignments of partitions; one belongs to the start.
        drained_s: seconds from the end of the sender until everything was committed.
        lost: records without an answer.
        repeated: answers beyond the first one of a record.
    """

    messages_per_s: float
    seconds: float
    records: int
    rss_mb_early: float
    rss_mb: float
    lag: int
    assignments: int
    drained_s: float
    lost: int
    repeated: int

    def as_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return asdict(self)

    @property
    def passed(self) -> bool:
        """True if memory was bounded, no rebalance occurred and nothing was lost."""
        return self.rss_mb < 1.25 * self.rss_mb_early and self.assignments == 1 and self.lost == 0


def overload(
    environment: Environment, *, messages_per_s: float, seconds: float, windows_per_message: int = 1
) -> Overload:
    """Send more than a worker can process, let it catch up, and check every record by its answer."""
    contender, topic = BY_NAME[OURS], environment.name("windows")
    environment.broker.create(topic, environment.partitions)
    begin = environment.folder / f"{topic}.begin"
    plan = environment.plan(
        topic,
        round(messages_per_s * seconds / environment.partitions),
        windows_per_message,
        messages_per_s=messages_per_s,
        begin=str(begin),
    )
    records = environment.records_of(plan)
    settings, topics = environment.settings(contender, topic, windows_per_message, publish="answers")
    with environment.contender(contender, settings) as child, environment.load(plan) as sender:
        child.wait_ready()
        sender.wait_ready()
        begin.touch()
        began_s = time.monotonic()
        environment.say(f"{messages_per_s:,.0f} messages/s for {seconds:.0f} s")
        sender.wait_ended(seconds + LOAD_DEADLINE_S)
        took_s = time.monotonic() - began_s
        lag = records - environment.broker.committed(settings.group, topic, environment.partitions)
        until_committed(environment, child, settings.group, Filled(topic, records, records), environment.partitions)
        drained_s = time.monotonic() - began_s - took_s
        child.stop()
        assignments = child.log.read_text("utf-8", "replace").count(f'"{ASSIGNED}"')
    answers = environment.broker.appended(topics[:1])
    answered = np.unique(answers.partition * records + answers.offset)
    early = [bytes_ for at_s, bytes_ in child.rss if began_s <= at_s <= began_s + took_s * FIRST_THIRD]
    environment.broker.delete([topic, *topics])
    return Overload(
        messages_per_s=records / took_s,
        seconds=took_s,
        records=records,
        rss_mb_early=max(early, default=0) / 1e6,
        rss_mb=child.peak_rss / 1e6,
        lag=lag,
        assignments=assignments,
        drained_s=drained_s,
        lost=records - len(answered),
        repeated=len(answers) - len(answered),
    )


@dataclass(frozen=True)
class Scaling:
    """Windows/s of one worker and of two workers in one group, each with one inference thread."""

    windows_per_message: int
    one_per_s: list[float]
    two_per_s: list[float]

    @property
    def ratio(self) -> float:
        """Median windows/s of two workers over that of one."""
        return float(np.median(self.two_per_s) / np.median(self.one_per_s))

    def as_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return {**asdict(self), "ratio": self.ratio}


def two_workers(environment: Environment, *, windows: int, windows_per_message: int) -> Scaling:
    """Let one worker and two workers process the same backlog, in both orders.

    The time starts when all workers have their partitions, and only the remaining records count.
    """
    filled = environment.filled(BY_NAME[OURS], windows, windows_per_message)
    rates: dict[int, list[float]] = {1: [], 2: []}
    for workers in (1, 2, 2, 1):
        rates[workers].append(_drain_together(environment, filled, windows_per_message, workers))
        environment.say(f"{workers} workers: {rates[workers][-1]:,.0f} windows/s")
    return Scaling(windows_per_message, rates[1], rates[2])


def _drain_together(environment: Environment, filled: Filled, windows_per_message: int, workers: int) -> float:
    contender = BY_NAME[OURS]
    settings, topics = environment.settings(
        contender, filled.topic, windows_per_message, engine_threads=1, commit_interval_s=QUICK_COMMITS_S
    )
    children: list[Measured] = []
    try:
        # Records processed before all workers have joined are not counted.
        for _ in range(workers):
            children.append(environment.contender(contender, settings))  # noqa: PERF401 - those started are stopped
        for child in children:
            child.wait_ready()
        time.sleep(QUICK_COMMITS_S)
        done = environment.broker.committed(settings.group, filled.topic, environment.partitions)
        began_s = time.monotonic()
        until_committed(environment, children[0], settings.group, filled, environment.partitions)
        took_s = time.monotonic() - began_s
    finally:
        for child in children:
            child.stop()
    environment.broker.delete(topics)
    return (filled.records - done) * windows_per_message / took_s
