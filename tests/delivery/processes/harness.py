"""Worker processes, load, and the count of records sent, answered, dead-lettered, lost and repeated."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.harness.broker import Broker
from stream.contract import HEADER_PREFIX
from tests.delivery.processes.marked import class_of, marked_message

FAULT_TYPES = ("lg", "ll", "llg", "lll", "lllg")
REPOSITORY = Path(__file__).resolve().parents[3]
DEADLINE_S = 180.0
SHARES = 1e-4
"""Tolerance of probabilities: an answer changes by rounding with the batch that its window came in."""


def free_port() -> int:
    """Return a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Topics:
    """A set of topics on a shared broker, for one test alone."""

    bootstrap: str
    prefix: str
    partitions: int = 4
    dead_letter_name: str = "dlq"

    @property
    def windows(self) -> str:
        return f"{self.prefix}-windows"

    @property
    def classes(self) -> str:
        return f"{self.prefix}-classes"

    @property
    def dead_letters(self) -> str:
        return f"{self.prefix}-{self.dead_letter_name}"

    @property
    def states(self) -> str:
        return f"{self.prefix}-states"

    @property
    def models(self) -> str:
        return f"{self.prefix}-models"

    @property
    def faults(self) -> list[str]:
        return [f"{self.prefix}.faults.{name}" for name in FAULT_TYPES]

    def environment(self) -> dict[str, str]:
        """Return settings of a worker on these topics."""
        return {
            "FAULTLINE_BROKER": self.bootstrap,
            "FAULTLINE_GROUP": self.prefix,
            "FAULTLINE_TOPIC_WINDOWS": self.windows,
            "FAULTLINE_TOPIC_WINDOW_CLASSES": self.classes,
            "FAULTLINE_TOPIC_DEAD_LETTERS": self.dead_letters,
            "FAULTLINE_TOPIC_LINE_STATES": self.states,
            "FAULTLINE_TOPIC_MODELS": self.models,
            "FAULTLINE_TOPIC_FAULTS_PREFIX": f"{self.prefix}.faults.",
            "FAULTLINE_PARTITIONS": str(self.partitions),
            "FAULTLINE_WINDOW_CLASSES": "true",
            "FAULTLINE_SESSION_TIMEOUT_S": "6",
            "FAULTLINE_HEARTBEAT_INTERVAL_S": "1",
            "FAULTLINE_COMMIT_INTERVAL_S": "0.5",
            "FAULTLINE_LOG_FORMAT": "json",
        }

    def create(self) -> Self:
        """Create all topics and return when they have leaders."""
        return self._create([self.windows, *self.outputs])

    def create_outputs(self) -> Self:
        """Create all topics except that of the windows, which belongs to another set."""
        return self._create(self.outputs)

    @property
    def outputs(self) -> list[str]:
        return [self.states, self.models, self.classes, self.dead_letters, *self.faults]

    def config(self, name: str) -> dict[str, str]:
        """Return the settings with which a topic is created."""
        return {"cleanup.policy": "compact"} if name in (self.states, self.models) else {}

    def _create(self, names: list[str]) -> Self:
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        new = [
            NewTopic(name, 1 if name == self.models else self.partitions, 1, config=self.config(name)) for name in names
        ]
        for future in admin.create_topics(new).values():
            future.result(20)

        def all_have_leaders() -> bool:
            known = admin.list_topics(timeout=10).topics
            return all(
                topic.topic in known and all(part.leader >= 0 for part in known[topic.topic].partitions.values())
                for topic in new
            )

        wait_until(all_have_leaders, "leaders of the topics")
        return self


@dataclass
class SecondGroup(Topics):
    """Topics of a second group that answers the same windows, with outputs and line states of its own."""

    of: Topics = field(kw_only=True)

    @property
    def windows(self) -> str:
        return self.of.windows


def wait_until(holds: Any, what: str, deadline_s: float = DEADLINE_S, pause_s: float = 0.1) -> None:
    """Return when ``holds()`` is true; fail the test if it takes too long."""
    end = time.monotonic() + deadline_s
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline_s:.0f} s in vain for {what}")
        time.sleep(pause_s)


class WorkerProcess:
    """A worker of the tests (``child`` in this folder) or the real one (``command``), with its log in a file."""

    def __init__(
        self,
        topics: Topics,
        log: Path,
        *,
        command: Sequence[str] = (sys.executable, "-m", "tests.delivery.processes.child"),
        **environment: str,
    ) -> None:
        self.port = free_port()
        self.log = log
        settings = {**topics.environment(), "FAULTLINE_WEB_PORT": str(self.port), **environment}
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(
                list(command), cwd=REPOSITORY, env={**os.environ, **settings}, stdout=stderr, stderr=stderr
            )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def ready(self) -> bool:
        """Return True if /readyz reports that the worker is ready."""
        if not self.alive:
            raise AssertionError(f"the worker ended with {self.process.returncode}:\n{self.log.read_text()[-3000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2) as answer:
                return bool(json.load(answer)["ready"])
        except (urllib.error.URLError, OSError):
            return False

    def wait_ready(self) -> WorkerProcess:
        wait_until(self.ready, "the worker to be ready")
        return self

    def wait_ended(self, deadline_s: float = DEADLINE_S) -> int:
        return self.process.wait(deadline_s)

    def kill(self) -> None:
        if self.alive:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self, deadline_s: float = 40.0) -> int:
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(deadline_s)


class Load:
    """Send marked windows of several lines, whatever happens to the workers in the meantime."""

    def __init__(self, topics: Topics, lines: int = 12, windows_per_message: int = 3) -> None:
        self._topics = topics
        self._lines = lines
        self._per_message = windows_per_message
        self._next = [0] * lines
        self._start_ns = time.time_ns()
        self._producer = Producer(
            {"bootstrap.servers": topics.bootstrap, "enable.idempotence": True, "linger.ms": 5, "log_level": 0}
        )
        self._failed: list[str] = []

    def send(self, messages_per_line: int) -> None:
        """Send a number of messages on every line and wait for the broker's acknowledgements."""
        for _ in range(messages_per_line):
            for line in range(self._lines):
                sequence = self._next[line]
                classes = [class_of(line, sequence + index) for index in range(self._per_message)]
                self.send_raw(f"line-{line:02d}", marked_message(sequence, classes, self._start_ns))
                self._next[line] += self._per_message
        self.flush()

    def send_raw(
        self, key: str | bytes | None, value: bytes | None, headers: list[tuple[str, bytes]] | None = None
    ) -> None:
        """Send any record."""
        while True:
            try:
                self._producer.produce(
                    self._topics.windows, value, key, headers=headers or [], on_delivery=self._delivered
                )
                break
            except BufferError:
                self._producer.poll(0.1)
        self._producer.poll(0)

    def _delivered(self, error: Any, _: Any) -> None:
        if error is not None:
            self._failed.append(str(error))

    def flush(self) -> None:
        left = self._producer.flush(60)
        if left or self._failed:
            raise AssertionError(f"the load itself failed: {left} unsent, {self._failed[:3]}")

    def expected_steps(self) -> Counter[tuple[str, str]]:
        """Return the number of onsets and clears, by (line, state), that the windows sent so far must give."""
        steps: Counter[tuple[str, str]] = Counter()
        for line in range(self._lines):
            faulty = quiet = 0
            for sequence in range(self._next[line]):
                if class_of(line, sequence):
                    faulty, quiet = faulty + 1, 0
                    steps[f"line-{line:02d}", "onset"] += faulty == 3
                else:
                    quiet += 1
                    if quiet == 8 and faulty >= 3:
                        steps[f"line-{line:02d}", "clear"] += 1
                    if quiet == 8:
                        faulty = 0
        return +steps


@dataclass
class Account:
    """The records that really went through the topics."""

    sent: set[tuple[int, int]] = field(default_factory=set)
    answered: Counter[tuple[int, int]] = field(default_factory=Counter)
    dead: Counter[tuple[int, int]] = field(default_factory=Counter)
    dead_reasons: Counter[str] = field(default_factory=Counter)
    events: list[dict[str, Any]] = field(default_factory=list)
    """Events of all topics; an update from one fault type to another stands in the topics of both."""
    published: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Copies of every event, by topic and id."""
    shadowed: set[str] = field(default_factory=set)
    """Models that answered as shadow; such answers do not count."""

    @property
    def lost(self) -> set[tuple[int, int]]:
        """Records that were neither answered nor dead-lettered."""
        return self.sent - set(self.answered) - set(self.dead)

    @property
    def foreign(self) -> set[tuple[int, int]]:
        """Answers to records that were never sent."""
        return (set(self.answered) | set(self.dead)) - self.sent

    @property
    def repeated(self) -> int:
        """Answers and dead letters beyond the first of a record."""
        return sum(self.answered.values()) - len(self.answered) + sum(self.dead.values()) - len(self.dead)

    @property
    def repeated_events(self) -> int:
        """Copies of events beyond the first in a topic."""
        return sum(self.published.values()) - len(self.published)

    def steps(self) -> Counter[tuple[str, str]]:
        """Return the number of different events by (line, state)."""
        distinct = {event["event_id"]: (event["line"], event["state"]) for event in self.events}
        return Counter(distinct.values())

    def same_step_has_same_id(self) -> bool:
        """Return True if every step of an episode has one id, however often it was published."""
        ids: dict[tuple[str, str, int], set[str]] = {}
        for event in self.events:
            ids.setdefault((event["line"], event["state"], event["sequence"]), set()).add(event["event_id"])
        return all(len(found) == 1 for found in ids.values())

    def differs_from(self, other: Account) -> list[str]:
        """Return the ids of events that only one account has, or that have another content in the other.

        Probabilities may differ by ``SHARES``. All copies of a repeated event count.
        """
        own, expected = (contents(one.events) for one in (self, other))
        return sorted(
            one
            for one in own.keys() | expected.keys()
            if not (own.get(one) and expected.get(one)) or any(not alike(expected[one][0], body) for body in own[one])
        )

    def summary(self) -> str:
        """Return the figures in one line."""
        return (
            f"sent {len(self.sent)}, answered {len(self.answered)}, dead-lettered {len(self.dead)}, "
            f"lost {len(self.lost)}, repeated answers {self.repeated}, events {len(self.events)}, "
            f"repeated events {self.repeated_events}"
        )


def contents(events: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return all copies of every event by its id."""
    copies: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        copies.setdefault(event["event_id"], []).append(event)
    return copies


def alike(event: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return True if two events have the same content, except for the rounding of probabilities."""
    one, two = ({**body, **body["probabilities"], "probabilities": None} for body in (event, other))
    return one.keys() == two.keys() and all(
        abs(value - two[name]) <= SHARES
        if isinstance(value, float) and isinstance(two[name], float)
        else value == two[name]
        for name, value in one.items()
    )


def account(topics: Topics) -> Account:
    """Read all topics from beginning to end."""
    found = Account()
    for message in read_all(topics.bootstrap, [topics.windows]):
        found.sent.add((message.partition(), message.offset()))
    for message in read_all(topics.bootstrap, [topics.classes]):
        answer = msgspec.msgpack.decode(message.value())
        if answer["shadow"]:
            found.shadowed.add(answer["model_id"])
        else:
            found.answered[answer["source"]["partition"], answer["source"]["offset"]] += 1
    for message in read_all(topics.bootstrap, [topics.dead_letters]):
        headers = dict(message.headers())
        place = tuple(int(headers[f"{HEADER_PREFIX}error.{name}"]) for name in ("partition", "offset"))
        found.dead[place[0], place[1]] += 1
        found.dead_reasons[headers[f"{HEADER_PREFIX}error.reason"].decode()] += 1
    for message in read_all(topics.bootstrap, topics.faults):
        found.events.append(json.loads(message.value()))
        found.published[message.topic(), found.events[-1]["event_id"]] += 1
    return found


def read_all(bootstrap: str, names: Iterable[str]) -> list[Any]:
    """Return every record of some topics, up to their current ends."""
    return Broker(bootstrap).read(names)


def wait_answered(topics: Topics, deadline_s: float = DEADLINE_S) -> Account:
    """Wait until every record sent is answered or dead-lettered (or the deadline has passed), then account."""
    end = time.monotonic() + deadline_s
    while True:
        found = account(topics)
        if not found.lost or time.monotonic() > end:
            return found
        time.sleep(0.5)
