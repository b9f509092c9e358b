"""The fetch: Faust's consumer without its thread; records know their assignment, and commits may fail for a while.

With a thread, two loops woke each other for every fetch and waited for the interpreter's lock: the median event came
6 ms later. In one loop the consumer's heartbeats also tell the truth: a worker whose loop stands still loses its
partitions to others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import aiokafka
import structlog
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.utils.futures import maybe_async

from stream.kafka import tolerant_parser

log = structlog.get_logger(__name__)

FAUST_LOGGER = logging.getLogger("faust")
"""Services log under their module's name: ours are still Faust's services."""


class Fetched(dict[TP, list[Any]]):
    """Records of a fetch, and the assignment whose positions they moved."""

    assignment: object = None


class Fetch(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """What Faust has in a consumer thread, as a service in the app's event loop."""

    logger = FAUST_LOGGER

    def __init__(self, consumer: Any, *, loop: asyncio.AbstractEventLoop, beacon: Any) -> None:
        super().__init__(consumer, loop=loop, thread_loop=loop, beacon=beacon)

    async def start(self) -> None:
        """Serve as a task where mode would begin a thread; returns when the consumer has started."""
        self._thread_started.set()
        self._thread_running = self.parent_loop.create_future()
        serving = self.parent_loop.create_task(self._serve(), name="fetch")
        # A crash has been told to the app by then; nobody awaits the task.
        serving.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._serving = serving  # the loop itself keeps tasks weakly
        try:
            await self._thread_running
        finally:
            self._thread_running = None

    async def call_thread(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call it here: there is no thread to hand it to."""
        return await maybe_async(fun(*args, **kwargs))

    async def _gather_remaining_tasks(self) -> None:
        """Tasks of this loop are not all ours to cancel."""

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        tolerant_parser.install()
        consumer = super()._create_worker_consumer(transport)
        # Faust fixes it at 1.5 s.
        consumer._fetch_max_wait_ms = self.app.settings.fetch_max_wait_ms
        return consumer

    def assignment_token(self) -> object:
        """Identity of the present assignment; every rebalance makes another, with positions read anew."""
        subscription = self._ensure_consumer()._subscription.subscription
        return None if subscription is None else subscription.assignment

    async def _fetch_records(self, *args: Any, **kwargs: Any) -> Fetched:
        # No await lies between aiokafka's moving the positions and the note of the assignment.
        fetched = Fetched(await super()._fetch_records(*args, **kwargs))
        fetched.assignment = self.assignment_token()
        return fetched

    def seek_back(self, tp: TP, offset: int, assignment: object) -> None:
        """Fetch again from ``offset``, unless the assignment has changed and its position with it."""
        if self.assignment_token() is assignment:
            self._ensure_consumer().seek(TopicPartition(tp.topic, tp.partition), offset)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit; a broker that is away for a while is no reason to crash, the ledger offers the offsets again."""
        wanted = {
            TopicPartition(tp.topic, tp.partition): OffsetAndMetadata(offset, "")
            for tp, offset in offsets.items()
            if tp in self.assignment()
        }
        if not wanted:
            return False
        try:
            await self._ensure_consumer().commit(wanted)
        except (CommitFailedError, IllegalStateError) as error:
            log.info("commit-after-rebalance", error=str(error), then="the records are repeated under the same ids")
            return False
        except KafkaError as error:
            log.warning("commit-failed", error=repr(error), then="tried again at the next interval")
            return False
        return True
