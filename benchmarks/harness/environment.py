"""The environment that all runs share: a broker, the windows to send, topics filled once, and unique names."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contenders import OURS, Contender
from benchmarks.contenders.settings import ContenderSettings
from benchmarks.harness.broker import Broker
from benchmarks.harness.load import LoadPlan, edge_messages
from benchmarks.harness.processes import Measured
from benchmarks.harness.windows import sample_windows
from model.spec import load_spec

LOAD_DEADLINE_S = 300.0


@dataclass(frozen=True)
class Filled:
    """A topic filled with the backlog of a throughput run."""

    topic: str
    records: int
    windows: int


@dataclass
class Environment:
    """The environment of runs.

    Args:
        bootstrap: address of the broker.
        folder: folder for settings, logs and the windows to send.
        partitions: number of partitions of every input topic.
        artefact: path of the model; None uses the shipped one.
        say: called with a description of the current step.
    """

    bootstrap: str
    folder: Path
    partitions: int = 4
    artefact: str | None = None
    say: Callable[[str], None] = lambda _: None
    _filled: dict[tuple[int, int, bool], Filled] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.broker = Broker(self.bootstrap)
        self.samples = self.folder / "samples.npz"
        self.spec = load_spec("line")
        sample_windows(self.spec).save(self.samples)

    def name(self, what: str) -> str:
        """Return a name that no other run has."""
        return f"{what}-{next(self._numbers)}"

    def plan(self, topic: str, messages: int, windows_per_message: int, **more: object) -> LoadPlan:
        """Return the plan of a load of ``messages`` per partition, in addition to the first and last ones."""
        given: dict[str, object] = {
            "bootstrap": self.bootstrap,
            "topic": topic,
            "partitions": self.partitions,
            "messages": messages,
            "windows_per_message": windows_per_message,
            "samples": str(self.samples),
        }
        return LoadPlan.model_validate(given | more)

    def records_of(self, plan: LoadPlan) -> int:
        """Return the number of messages of a load, over all partitions."""
        return plan.partitions * (plan.messages + 2 * edge_messages(self.spec, plan.windows_per_message))

    def filled(self, contender: Contender, windows: int, windows_per_message: int) -> Filled:
        """Return a topic filled with the contender's share of the windows; equal shares use the same topic."""
        messages = max(1, round(windows * contender.share / windows_per_message / self.partitions))
        key = (messages, windows_per_message, contender.json)
        if key not in self._filled:
            topic = self.name("windows")
            self.broker.create(topic, self.partitions)
            plan = self.plan(topic, messages, windows_per_message, json_windows=contender.json)
            records = self.records_of(plan)
            self.say(f"writing {records:,} records of {windows_per_message} windows")
            with self.load(plan) as load:
                load.wait_ended(LOAD_DEADLINE_S)
            self._filled[key] = Filled(topic, records, records * windows_per_message)
        return self._filled[key]

    def load(self, plan: LoadPlan) -> Measured:
        """Start the process that sends a load."""
        return Measured("benchmarks.harness.load", plan, self.folder, self.name("load"))

    def contender(
        self, contender: Contender, settings: ContenderSettings, *, cores: list[int] | None = None
    ) -> Measured:
        """Start a contender; its topics must exist."""
        module = f"benchmarks.contenders.{contender.name}"
        return Measured(module, settings, self.folder, self.name(contender.name), cores=cores)

    def settings(
        self,
        contender: Contender,
        input_topic: str,
        windows_per_message: int,
        *,
        partitions: int | None = None,
        **more: object,
    ) -> tuple[ContenderSettings, list[str]]:
        """Return the settings of a run, with its own group and output topics, which are created and returned, too.

        The topic of line states has as many partitions as that of windows: the environment's, or ``partitions``.
        """
        name = self.name(f"run-{contender.name}")
        given: dict[str, object] = {
            "bootstrap": self.bootstrap,
            "group": name,
            "input_topic": input_topic,
            "output_topic": name,
            "artefact": self.artefact,
            "windows_per_message": windows_per_message,
        }
        settings = ContenderSettings.model_validate(given | more)
        return settings, self.broker.create_outputs(name, partitions or self.partitions, ours=contender.name == OURS)
