"""What all runs share: a broker, the windows to send, topics filled once, and names that no two runs have in common."""

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
    """A topic with everything that a throughput run takes from it."""

    topic: str
    records: int
    windows: int


@dataclass
class Environment:
    """Where runs take place.

    Args:
        bootstrap: of the broker.
        folder: for settings, logs and the windows to send.
        partitions: of every topic of windows.
        artefact: path of the model; None is the shipped one.
        say: told what is being done, for people.
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
        """A name that no other run has."""
        return f"{what}-{next(self._numbers)}"

    def plan(self, topic: str, messages: int, windows_per_message: int, **more: object) -> LoadPlan:
        """A load of so many messages per partition, beside the first and the last ones."""
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
        """Messages of a load, all partitions together."""
        return plan.partitions * (plan.messages + 2 * edge_messages(self.spec, plan.windows_per_message))

    def filled(self, contender: Contender, windows: int, windows_per_message: int) -> Filled:
        """A topic with the contender's share of so many windows; the same one for all that have the same share."""
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
        """Start sending."""
        return Measured("benchmarks.harness.load", plan, self.folder, self.name("load"))

    def contender(
        self, contender: Contender, settings: ContenderSettings, *, cores: list[int] | None = None
    ) -> Measured:
        """Start a contender; its topics are there already."""
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
        """Settings of a run with a group and output topics of its own, which are created and returned as well.

        Line states are on as many partitions as the windows: the environment's unless ``partitions`` says otherwise.
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
