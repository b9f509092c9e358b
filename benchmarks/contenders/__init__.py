"""The contenders of the comparison.

Each contender is a module that runs as a separate process (see ``settings``). It is written as its library's
documentation recommends, and does the same job with the functions of ``task``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Contender:
    """One contender.

    Attributes:
        name: name of its module.
        title: name in tables.
        promises: its delivery guarantee, in a few words.
        share: share of the input that it gets in throughput runs; a slow one would take a day for all of it.
        json: True if its windows are JSON instead of MessagePack.
        serious: False for a contender that is listed only for comparison.
        backlog_deadline_ms: longest time to fill a batch in throughput runs, longer where it helps; in latency runs the
            deadline is the same for all.
    """

    name: str
    title: str
    promises: str
    share: float = 1.0
    json: bool = False
    serious: bool = True
    backlog_deadline_ms: float = 5.0


OURS = "faultline_worker"

CONTENDERS: tuple[Contender, ...] = (
    Contender(OURS, "Faultline", "nothing lost, episodes per line, state, dead letters"),
    Contender("aiokafka_bare", "aiokafka getmany + our engine", "nothing lost"),
    Contender("confluent_batches", "confluent-kafka batches + our engine", "nothing lost"),
    Contender("quix_engine", "Quix Streams + our engine", "nothing lost", share=0.5),
    Contender(
        "faust_take_engine",
        "Faust take + our engine",
        "acknowledges batches that failed",
        share=0.25,
        # Stock Faust polls in take: with 5 ms it collects a few dozen windows, with 500 ms it reaches twice the rate.
        backlog_deadline_ms=500.0,
    ),
    Contender(
        "faust_take_predict",
        "Faust take + model.predict",
        "acknowledges batches that failed",
        share=0.1,
        backlog_deadline_ms=500.0,
    ),
    Contender(
        "faust_per_event",
        "Faust per event, JSON, model.predict",
        "acknowledges events that failed",
        share=0.001,
        json=True,
        serious=False,
    ),
)

BY_NAME = {contender.name: contender for contender in CONTENDERS}
