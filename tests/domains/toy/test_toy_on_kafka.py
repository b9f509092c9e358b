"""Machines on Apache Kafka by real processes: events on their own topics, a retraining, and the model swap after it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faultline_machines.signal import BEARING, IMBALANCE, NORMAL, vibration

from benchmarks.storms.swaps import metric
from faultline.testing import publish
from model.artefact import Artefact
from model.spec import SignalSpec
from stream.contract import NS_PER_S
from stream.settings import Settings
from stream.windowing import OutgoingWindows, window_messages
from tests.conftest import Kafka
from tests.delivery.processes.harness import WorkerProcess, account, read_all, wait_answered, wait_until
from tests.delivery.processes.trainer_harness import LENIENT, TINY, TrainerProcess, TrainerTopics
from tests.delivery.processes.trainer_harness import command as run_command

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

MACHINES = 6
CONDITIONS = (NORMAL, IMBALANCE, NORMAL, BEARING, NORMAL)
STEPS = 2 * 2 * MACHINES
"""Onset and clear of two faults on every machine."""
LABELLED = 'faultline_store_windows{labelled="true"}'
REAL_GATE: dict[str, str | None] = {
    **dict.fromkeys({**TINY, **LENIENT}),
    "FAULTLINE_RETRAIN_NICE": "0",
    "FAULTLINE_GATE_FIELD_MARGIN": "0.1",
}
"""The gate's own limits but one: the time determines which labelled windows are held out, and here they are few."""
PART = {"imbalance": "rotor", "bearing": "bearing"}


class MachineTopics(TrainerTopics):
    """Topics of a worker and a sidecar for machines."""

    @property
    def faults(self) -> list[str]:
        return [self.fault(name) for name in PART]

    def fault(self, name: str) -> str:
        return f"{self.prefix}.faults.{name}"

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "FAULTLINE_SPEC": "machine"}


def vibrations(spec: SignalSpec, seed: int) -> list[OutgoingWindows]:
    """Return labelled messages of some machines that each have both faults, one after the other."""
    sent: list[OutgoingWindows] = []
    for machine in range(MACHINES):
        rng = np.random.default_rng((seed, machine))
        samples, labels = vibration(CONDITIONS, 1.0, spec, rng)
        line, start_ns = f"pump-{seed}-{machine}", time.time_ns() - len(CONDITIONS) * NS_PER_S
        sent += window_messages(line, samples, spec, rate_hz=spec.rate_hz, start_ns=start_ns, labels=labels)
    return sent


def events_of(topics: MachineTopics, seed: int) -> list[dict[str, Any]]:
    """Return the events of the machines of a seed."""
    return [event for event in account(topics).events if event["line"].startswith(f"pump-{seed}-")]


def test_machines_are_served_retrained_and_served_by_the_new_model(
    kafka: Kafka, spec: SignalSpec, model: Path, artefact: Artefact, tmp_path: Path
) -> None:
    topics = MachineTopics(kafka.bootstrap, f"toy-{os.getpid()}", partitions=2)
    topics.create()
    settings = Settings(_env_file=None, broker=kafka.bootstrap, topic_windows=topics.windows, spec="machine")
    with ExitStack() as ended:
        worker = WorkerProcess(
            topics,
            tmp_path / "worker.log",
            command=(sys.executable, "-m", "faultline", "worker", "--spec", "machine", "--model", str(model)),
        )
        ended.callback(worker.kill)
        trainer = TrainerProcess(topics, tmp_path, FAULTLINE_MODEL=str(model), **REAL_GATE)
        ended.callback(trainer.kill)
        for process in (worker, trainer):
            wait_until(process.ready, "worker and trainer to be ready")
        sent = vibrations(spec, seed=1)
        asyncio.run(publish(settings, sent))
        wait_until(lambda: len(events_of(topics, 1)) >= STEPS, f"{STEPS} events")
        first = ("imbalance", "--line", "pump-1-0", "--limit", "2", "--from", "earliest", "--timeout", "60")
        printed = run_command(topics, "subscribe", *first)
        assert printed.returncode == 0, printed.stderr
        wait_until(lambda: trainer.metric(LABELLED) == sum(one.count for one in sent), "the labelled windows")
        asked = run_command(topics, "retrain", "--wait", "--from-champion", "--epochs", "3")
        assert asked.returncode == 0, asked.stdout + asked.stderr
        (final,) = topics.final_reports()
        new = final.model_id
        in_use = f'faultline_model_info{{model_id="{new}",spec="machine"}}'
        wait_until(lambda: metric(worker, in_use) == 1, "the new model")
        asyncio.run(publish(settings, vibrations(spec, seed=2)))
        wait_until(lambda: len(events_of(topics, 2)) >= STEPS, f"{STEPS} events more")
        found = wait_answered(topics)
    print(f"{found.summary()}; {final.state} {new} beside {final.champion_id}: {final.metrics}")

    assert not found.lost
    assert not found.dead
    for kind in PART:
        on_topic = [json.loads(one.value()) for one in read_all(kafka.bootstrap, [topics.fault(kind)])]
        assert all(event["part"] == PART[event["fault_type"]] for event in on_topic)
        own = [event for event in on_topic if event["fault_type"] == kind]
        assert {event["model_id"] for event in on_topic if "pump-1-" in event["line"]} == {artefact.model_id}
        assert {event["model_id"] for event in on_topic if "pump-2-" in event["line"]} == {new}
        for state in ("onset", "clear"):
            assert len({event["line"] for event in own if event["state"] == state}) == 2 * MACHINES
    onset, clear = printed.stdout.splitlines()
    assert "pump-1-0" in onset
    assert "of the rotor" in onset
    assert "lasted" in clear

    assert (final.state, final.spec, final.champion_id) == ("promoted", "machine", artefact.model_id)
    assert final.metrics["holdout_merged_macro_f1"] >= 0.95
    assert final.metrics["field_windows"] > 0
    assert final.metrics["field_macro_f1"] >= 0.9
    (champion,) = [one for key, one in topics.published() if key == "machine"]
    assert champion is not None
    assert (champion.model_id, champion.manifest.metrics["warm_start"]) == (new, artefact.model_id)
    assert final.report_path is not None
    assert {"report.json", "report.md", "report.html"} <= {path.name for path in Path(final.report_path).iterdir()}
