"""An hour of stream time passes through the real sidecar: drift requests one retraining, no drift requests none.

The sidecar is real: it ingests, detects drift with the champion, requests a retraining and serves it. Only
the candidate is ready at once (``tests.delivery.processes.fast_job``).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from confluent_kafka import Producer

from model.spec import load_spec
from stream.windowing import encode_windows
from tests.conftest import Kafka
from tests.delivery.processes.harness import read_all, wait_until
from tests.delivery.processes.trainer_harness import TrainerProcess, TrainerTopics
from tests.training.sidecar.drift.drift_hours import SHOWN_WINDOWS, hour

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]

SPEC = load_spec("line")


def send_hour(topics: TrainerTopics, *, drifts: bool) -> int:
    """Send an hour of three lines, sampled every ten seconds, as fast as the broker accepts it; return the windows."""
    producer = Producer({"bootstrap.servers": topics.bootstrap, "linger.ms": 5, "log_level": 0})
    sent = 0
    for names, start_ns, windows in hour(SPEC, 5, drifts=drifts, lines=3):
        for first in range(0, len(names), SHOWN_WINDOWS):
            value = encode_windows(
                windows[first : first + SHOWN_WINDOWS],
                SPEC,
                sequence=int(start_ns[first] // 1_000_000),
                start_ns=int(start_ns[first]),
                rate_hz=SPEC.rate_hz,
            )
            producer.produce(topics.windows, value, names[first])
            sent += SHOWN_WINDOWS
        producer.poll(0)
    assert producer.flush(60) == 0
    return sent


@pytest.mark.parametrize("drifts", [True, False])
def test_an_hour_asks_for_one_retraining_with_drift_and_for_none_without(
    kafka: Kafka, tmp_path: Path, drifts: bool
) -> None:
    topics = TrainerTopics(kafka.bootstrap, f"drift-{drifts}-{os.getpid()}".lower(), partitions=2).create()
    settings = {"FAULTLINE_RETRAIN_ON_DRIFT": "true"}
    trainer = TrainerProcess(topics, tmp_path, "tests.delivery.processes.fast_job", **settings)
    try:
        trainer.wait_ready()
        sent = send_hour(topics, drifts=drifts)
        wait_until(
            lambda: trainer.metric('faultline_trainer_windows_total{labelled="false"}') == sent,
            "the trainer to see the whole hour",
        )
        if drifts:
            (final,) = topics.wait_final_reports(1)
            assert (final.state, final.reason) == ("promoted", "drift")
            started = [one for one in topics.reported() if one.state == "started"]
            assert "moved from" in started[0].note, "the audit trail says what moved"
        # Ending it writes everything that was under way, so it has requested all that it had to request.
        assert trainer.terminate() == 0
    finally:
        trainer.kill()
    assert len(read_all(topics.bootstrap, [topics.requests])) == int(drifts)
    assert [one.reason for one in topics.final_reports()] == ["drift"] * drifts
    assert {one.reason for one in topics.reported()} == ({"drift"} if drifts else set())
    assert len(topics.champions()) == int(drifts)
