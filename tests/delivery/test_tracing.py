"""A trace runs from window to event over Apache Kafka, and its spans reach a collector."""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.settings import Settings
from stream.telemetry.tracing import open_tracing, read_context, trace_headers
from tests.conftest import Kafka
from tests.delivery.processes.collector import Collector
from tests.delivery.processes.harness import Load, Topics, WorkerProcess, read_all, wait_answered, wait_until
from tests.delivery.processes.marked import marked_message
from tests.delivery.processes.trainer_harness import TrainerProcess, TrainerTopics
from tests.stream.telemetry.contexts import GATEWAY

TRACE_ID = f"{GATEWAY.trace_id:032x}"
SPAN_ID = f"{GATEWAY.span_id:016x}"
ONSET = [1, 1, 1, 1]

_numbers = itertools.count()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


def options(collector: Collector) -> dict[str, str]:
    return {
        "FAULTLINE_TRACING": "otlp",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.endpoint,
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer hunter2",
        "OTEL_TRACES_SAMPLER_ARG": "0",
    }


@pytest.mark.kafka
@pytest.mark.slow
def test_a_trace_goes_from_window_to_event_and_its_spans_to_the_collector(
    kafka: Kafka, collector: Collector, tmp_path: Path
) -> None:
    topics = Topics(kafka.bootstrap, f"traced-{os.getpid()}-{next(_numbers)}", partitions=2).create()
    worker = WorkerProcess(topics, tmp_path / "worker.log", **options(collector)).wait_ready()
    try:
        load = Load(topics)
        load.send_raw("traced", marked_message(0, ONSET, 1), trace_headers(GATEWAY))
        load.send_raw("untraced", marked_message(0, ONSET, 1))
        load.send_raw("broken", marked_message(0, ONSET, 1), [("traceparent", b"\xff"), ("tracestate", b"\xff")])
        load.flush()
        found = wait_answered(topics)
        assert not found.lost, found.summary()
        events = {message.key().decode(): message for message in read_all(topics.bootstrap, topics.faults)}
        contexts = {line: read_context(event.headers()) for line, event in events.items()}
        assert set(contexts) == {"traced", "untraced", "broken"}
        assert contexts["untraced"] is contexts["broken"] is None
        carried = contexts["traced"]
        assert carried is not None
        assert (carried.trace_id, carried.trace_flags.sampled) == (GATEWAY.trace_id, True)

        wait_until(lambda: collector.names(TRACE_ID), "the spans")
        assert worker.terminate() == 0
        assert collector.names(TRACE_ID) == [f"process {topics.windows}"]
        (judged,) = [span for _, span in collector.spans if span.trace_id.hex() == TRACE_ID]
        assert (judged.parent_span_id.hex(), judged.span_id.hex()) == (SPAN_ID, f"{carried.span_id:016x}")
        batch = judged.links[0].trace_id.hex()
        assert collector.names(batch) == ["classify", "commit", "decode", "gather", "micro-batch", "publish"]
        assert {service for service, _ in collector.spans} == {"faultline-worker"}
        assert all(headers["authorization"] == "Bearer hunter2" for _, headers in collector.requests)

        log = worker.log.read_text()
        told = [json.loads(line) for line in log.splitlines() if '"fault-event"' in line]
        assert {line["line"]: line.get("trace_id") for line in told}["traced"] == TRACE_ID
        assert "hunter2" not in log
        assert "tracing-headers-in-the-clear" in log
    finally:
        worker.kill()


def test_a_collector_that_hangs_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    with Collector(answer) as hanging:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", hanging.endpoint)
        settings = Settings(_env_file=None, tracing="otlp")
        tracing = open_tracing(settings, "worker")
        assert tracing is not None
        tracing.span("last words").end()
        tracing.close()
        assert hanging.asked.is_set()
        assert not answer.is_set(), "closed without an answer"
        answer.set()


@pytest.mark.kafka
@pytest.mark.slow
def test_without_a_collector_the_worker_works_and_ends_as_ever(kafka: Kafka, tmp_path: Path) -> None:
    topics = Topics(kafka.bootstrap, f"traced-{os.getpid()}-{next(_numbers)}", partitions=2).create()
    away = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_SAMPLER_ARG": "1"}
    worker = WorkerProcess(topics, tmp_path / "worker.log", FAULTLINE_TRACING="otlp", **away).wait_ready()
    try:
        load = Load(topics)
        load.send(30)
        found = wait_answered(topics)
        assert not found.lost, found.summary()
        assert found.steps() == load.expected_steps()
        assert worker.terminate() == 0
    finally:
        worker.kill()


@pytest.mark.kafka
@pytest.mark.slow
def test_a_trace_goes_from_request_to_report_and_every_line_of_the_log_names_the_retraining(
    kafka: Kafka, collector: Collector, tmp_path: Path
) -> None:
    topics = TrainerTopics(kafka.bootstrap, f"traced-{os.getpid()}-{next(_numbers)}", partitions=2).create()
    trainer = TrainerProcess(topics, tmp_path, "tests.delivery.processes.fast_job", **options(collector))
    try:
        trainer.wait_ready()
        topics.ask("one", headers=trace_headers(GATEWAY))
        (word,) = topics.wait_final_reports(1)
        assert trainer.terminate() == 0
        records = read_all(topics.bootstrap, [topics.reports])
        context, *others = [read_context(record.headers()) for record in records]
        assert context is not None
        assert others
        assert others == [context] * len(others)
        assert collector.names(TRACE_ID) == ["retraining"]
        ((service, span),) = collector.spans
        assert (service, span.parent_span_id.hex()) == ("faultline-trainer", SPAN_ID)
        assert (span.trace_id.hex(), span.span_id.hex()) == (f"{context.trace_id:032x}", f"{context.span_id:016x}")
        logged = [json.loads(line) for line in trainer.log.read_text().splitlines() if line.startswith("{")]
        named = {line["event"]: line.get("run_id") for line in logged}
        about = {"request-accepted", "job-started", "job-ended", "champion-published", "training-report"}
        assert {event: named.get(event) for event in about} == dict.fromkeys(about, word.run_id)
    finally:
        trainer.kill()
