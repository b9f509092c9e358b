"""A fault recorder's file, replayed to the real worker, gives the same episodes as ``faultline classify``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from domains.powerline.events import PowerLineFaultEvent
from faultline.file_detection import detect
from stream.contract import FaultEvent
from tests.conftest import Kafka
from tests.delivery.processes.harness import Topics, WorkerProcess, read_all, wait_answered
from tests.delivery.processes.recorded import run

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PROBABILITY_TOLERANCE = 1e-4
"""An answer changes by rounding with the batch that its window came in."""


def content(event: FaultEvent, tolerance: float | None = None) -> dict[str, Any]:
    """Return an event without the source of its windows; probabilities have a tolerance if one is given."""
    body = event.model_dump(exclude={"source", "probabilities", "confidence", "ground_probability"})
    shares = {**event.probabilities, "confidence": event.confidence, "ground": event.ground_probability}
    for name, share in shares.items():
        body[f"share {name}"] = share if tolerance is None else pytest.approx(share, abs=tolerance)
    return body


def test_a_comtrade_file_gives_the_same_events_through_kafka_as_without(
    kafka: Kafka, data_dir: Path, tmp_path: Path
) -> None:
    path = data_dir / "comtrade" / "pnnl-f1" / "f1_1b274run.cfg"
    if not path.is_file():
        pytest.skip(f"no {path}")
    (alone,) = detect([path])
    expected = [event for answer in alone.answers for event in answer.events]
    assert [event.state for event in expected][:1] == ["onset"]
    topics = Topics(kafka.bootstrap, f"comtrade-{os.getpid()}").create()
    worker = WorkerProcess(topics, tmp_path / "worker.log", command=(sys.executable, "-m", "faultline", "worker"))
    worker.wait_ready()
    try:
        said = json.loads(
            run("replay", str(path), "--topic", topics.windows, "--pace", "max", "--broker", kafka.bootstrap, "--json")
        )
        found = wait_answered(topics)
        assert not found.lost
        assert said["confirmed_windows"] == alone.windows
    finally:
        worker.terminate()
    events = [
        PowerLineFaultEvent.model_validate_json(message.value()) for message in read_all(kafka.bootstrap, topics.faults)
    ]
    events.sort(key=lambda event: event.sequence)
    assert [event.event_id for event in events] == [event.event_id for event in expected]
    for event, same in zip(events, expected, strict=True):
        assert content(event) == content(same, PROBABILITY_TOLERANCE)
