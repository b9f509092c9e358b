"""Embedded broker: librdkafka's mock cluster, so that a first run needs neither Java nor Docker.

It keeps all data in the memory of its process. Measured with librdkafka 2.16, aiokafka 0.14:

- A topic is created when a client requests its metadata, always with ``PARTITIONS`` (4) partitions. CreateTopics
  and configuration requests are not answered, so no topic is ever compacted.
- Each partition keeps its newest 5 MiB (about 6,500 windows of 32 × 6 values); older records are dropped
  silently. A consumer that falls further behind loses them, so the delivery guarantee does not hold here.
- Fetch, commit, idempotent producers and gzip, lz4, snappy and zstd batches work. A lookup of offsets by time
  always returns "none".
- A group's first join takes 3 s. Members that join within these 3 s share the partitions. The first SyncGroup of
  a later member is refused (error 42, InvalidRequest), which ends an aiokafka consumer: start the workers of one
  group together, or use Apache Kafka.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog
from confluent_kafka import KafkaException, Producer

from stream.errors import BrokerUnreachableError

PARTITIONS = 4  # librdkafka's default; it has no setting for it
CLUSTER_ID_PREFIX = "mockCluster"  # beginning of the cluster id in its metadata responses, see is_embedded
START_DEADLINE_S = 10.0
PARENT_POLL_S = 0.5

log = structlog.get_logger(__name__)


def is_embedded(cluster_id: str | None) -> bool:
    """Return True if a cluster id is that of an embedded broker."""
    return cluster_id is not None and cluster_id.startswith(CLUSTER_ID_PREFIX)


class EmbeddedBroker:
    """Broker on a free loopback port, which stops with this object.

    Example:
        >>> with EmbeddedBroker() as broker:
        ...     broker.bootstrap.startswith("127.0.0.1:")
        True
    """

    def __init__(self) -> None:
        self._client: Producer | None = None
        self._bootstrap = ""

    @property
    def bootstrap(self) -> str:
        """Return ``host:port``; empty before the start."""
        return self._bootstrap

    def start(self) -> None:
        """Start the broker and return when it answers.

        Raises:
            BrokerUnreachableError: the broker did not answer within ten seconds.
        """
        if self._client is not None:
            return
        configuration: dict[str, Any] = {
            "test.mock.num.brokers": 1,
            "bootstrap.servers": "127.0.0.1:1",  # required, but replaced by the mock's address
            "log_level": 0,
        }
        client = Producer(configuration)
        try:
            brokers = client.list_topics(timeout=START_DEADLINE_S).brokers.values()
        except KafkaException as error:
            raise BrokerUnreachableError(
                f"the embedded broker did not start ({error.args[0].str()}): try again, or use Apache Kafka"
            ) from None
        self._client = client
        self._bootstrap = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def stop(self) -> None:
        """Stop the broker; its data is lost."""
        self._client = None
        self._bootstrap = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def serve(*, on_start: Callable[[str], None], port_file: Path | None = None, with_parent: bool = False) -> None:
    """Run an embedded broker until SIGINT or SIGTERM.

    Args:
        on_start: called with the address, ``host:port``, when the broker answers.
        port_file: file that receives the address, by a rename, so that a reader never sees half of it.
        with_parent: True also ends the broker when the parent process has ended.
    """
    parent = os.getppid()
    asked_to_stop = threading.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda number, frame: asked_to_stop.set())
    with EmbeddedBroker() as broker:
        if port_file is not None:
            scratch = port_file.with_name(port_file.name + ".new")
            scratch.write_text(broker.bootstrap + "\n")
            scratch.replace(port_file)
        on_start(broker.bootstrap)
        while not asked_to_stop.wait(PARENT_POLL_S):
            if with_parent and os.getppid() != parent:
                break
