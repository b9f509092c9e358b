"""Who is compared. Each contender is a module run as a process of its own (see ``settings``), each written as its
library's documentation recommends, doing the same job by the pieces of ``task``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Contender:
    """One contender.

    Attributes:
        name: the module's.
        title: in tables.
        promises: what it does about failures, in a few words.
        share: part of the input that it is given in throughput runs; a slow one would take all day over all of it.
        json: whether its windows are JSON instead of MessagePack.
        serious: False for one that is there for the record only.
        backlog_deadline_ms: how long a batch may fill in throughput runs, where it helps; in latency runs the deadline
            is the same for all.
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
        # Stock Faust's take is polled: in 5 ms it gathers a few dozen windows, in 500 ms it does twice the windows/s.
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
