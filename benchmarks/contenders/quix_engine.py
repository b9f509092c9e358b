"""Quix Streams with our engine: a ``StreamingDataFrame`` of raw bytes into a sink that answers in batches.

Its documentation offers several ways to work in batches. ``BaseSink`` was chosen among them:

- Windows of a dataframe (``tumbling_count_window(n).collect()``) collect per key and write every value to RocksDB. They
  are made for aggregates per line, not for batches over lines.
- ``BatchingSink`` collects per partition from one checkpoint to the next. A batch would cost a flush, a synchronous
  commit and their round trips, and would be limited to one partition.
- ``BaseSink`` allows ``add`` to send in a streaming manner, with ``flush`` to confirm. ``EngineSink`` therefore batches
  over all partitions by size and deadline, like Faultline. A checkpoint comes only once per ``commit_interval``, and
  offsets are committed when ``flush`` has returned.
- ``Application.get_consumer`` bypasses stream processing and equals confluent-kafka's ``poll``. Without batches, it
  would be the contender ``confluent_batches``, but slower.

Quix delivers one message at a time on the main thread. Decoding, engine and producer run on another thread meanwhile,
like Quix's own time-series sink. The reviewed settings are: raw bytes (no cost of a deserialiser), the idempotent
producer that Quix creates by default, no changelog topics since there is no state, no logging. A
``consumer_poll_timeout`` of 0.1 s instead of 1 s only makes an idle application check more often if a checkpoint is
due. All other settings keep Quix's defaults.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import threading
import time
from typing import Any

from benchmarks.kafka.jars import REPOSITORY

FOLDER = REPOSITORY / ".quix"
"""Folder into which ``make quix`` installs Quix Streams."""
LOOK_S = 0.05


def ensure_quix() -> None:
    """Restart the process with Quix Streams' folder before ``.venv``, or exit with a message if it is not installed."""
    if importlib.util.find_spec("quixstreams") is not None:
        return
    if not FOLDER.is_dir() or str(FOLDER) in sys.path:
        sys.exit("Quix Streams is not installed: run make quix")
    path = os.pathsep.join(filter(None, (str(FOLDER), os.environ.get("PYTHONPATH"))))
    # Start the process again, since modules imported so far came from .venv.
    os.execve(sys.executable, [sys.executable, "-m", __spec__.name, *sys.argv[1:]], os.environ | {"PYTHONPATH": path})


def engine_sink(settings: Any, producer: Any) -> Any:
    """Create the sink; its class is defined here since its base class is importable only after ``ensure_quix``."""
    from quixstreams.sinks.base import BaseSink

    from benchmarks.contenders.confluent_batches import ConfirmingProducer
    from benchmarks.contenders.task import Record, Task

    deadline_s: float = settings.batch_deadline_ms / 1000

    class EngineSink(BaseSink):  # type: ignore[misc]
        """A sink that collects records, answers them in batches on a thread, and confirms them in ``flush``."""

        def __init__(self) -> None:
            """Compile the engine and start the thread."""
            super().__init__(on_client_connect_success=lambda: None)
            self._task = Task(settings).with_engine()
            self._producer = ConfirmingProducer(producer, settings.output_topic)
            self._changed = threading.Condition()
            self._gathered: list[Record] = []
            self._oldest_s = 0.0
            self._hurry = self._busy = False
            self._failed: BaseException | None = None
            threading.Thread(target=self._work, daemon=True).start()

        def setup(self) -> None:
            """Connect the producer."""
            # Quix connects a producer at its first call: connect now instead of with the first answers.
            producer.poll(0)

        def add(
            self, value: Any, key: Any, timestamp: int, headers: Any, topic: str, partition: int, offset: int
        ) -> None:
            """Add a record to the next batch; block while a full batch waits for the one in work."""
            with self._changed:
                if not self._gathered:
                    self._oldest_s = time.monotonic()
                self._gathered.append(Record(topic, partition, offset, timestamp, key, value, headers or ()))
                if len(self._gathered) in (1, settings.batch_records):
                    self._changed.notify_all()
                # One batch is processed while another may wait.
                while len(self._gathered) >= settings.batch_records and self._busy:
                    self._check()
                    self._changed.wait()

        def flush(self) -> None:
            """Process all collected records, and wait until the broker has acknowledged their outputs."""
            with self._changed:
                self._hurry = True
                self._changed.notify_all()
                while self._gathered or self._busy:
                    self._check()
                    self._changed.wait()
                self._hurry = False
                self._check()
            self._producer.confirm()

        def _check(self) -> None:
            if self._failed is not None:
                raise self._failed

        def _work(self) -> None:
            try:
                while True:
                    self._producer.produce(self._task.answer(self._next()))
            except BaseException as error:
                with self._changed:
                    self._failed = error
                    self._changed.notify_all()

        def _next(self) -> list[Record]:
            """Wait for a batch that is full, older than the deadline, or requested by ``flush``, and return it."""
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                while not self._due():
                    self._changed.wait(self._left_s() if self._gathered else None)
                batch, self._gathered = self._gathered, []
                self._busy = True
                self._changed.notify_all()
                return batch

        def _left_s(self) -> float:
            return self._oldest_s + deadline_s - time.monotonic()

        def _due(self) -> bool:
            if not self._gathered:
                return False
            return self._hurry or len(self._gathered) >= settings.batch_records or self._left_s() <= 0

    return EngineSink()


def say_ready_when_joined(bootstrap: str, group: str) -> None:
    """Print ``ready`` once the group's coordinator shows assigned partitions, since Quix reports no assignment."""
    from confluent_kafka import ConsumerGroupState
    from confluent_kafka.admin import AdminClient

    from benchmarks.contenders.settings import say_ready

    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    while True:
        group_now = admin.describe_consumer_groups([group])[group].result()
        members = [member for member in group_now.members if member.assignment.topic_partitions]
        if group_now.state == ConsumerGroupState.STABLE and members:
            say_ready()
            return
        time.sleep(LOOK_S)


def main() -> None:
    """Run the contender."""
    ensure_quix()
    from quixstreams import Application

    from benchmarks.contenders.settings import settings_of_process

    settings = settings_of_process()
    application = Application(
        broker_address=settings.bootstrap,
        consumer_group=settings.group,
        auto_offset_reset="earliest",
        commit_interval=settings.commit_interval_s,
        consumer_poll_timeout=0.1,
        auto_create_topics=False,
        use_changelog_topics=False,
        # Like the other contenders: the default of 5 ms would only delay answers.
        producer_extra_config={"linger.ms": 1},
        state_dir=tempfile.mkdtemp(prefix="bench-quix-"),
        loglevel=None,
    )
    windows = application.topic(settings.input_topic, key_deserializer="bytes", value_deserializer="bytes")
    application.dataframe(windows).sink(engine_sink(settings, application.get_producer()))
    threading.Thread(target=say_ready_when_joined, args=(settings.bootstrap, settings.group), daemon=True).start()
    application.run()


if __name__ == "__main__":
    main()
