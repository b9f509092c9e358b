"""The model changes under load on Apache Kafka: no mixed answers, no lost record, and no invalid model in use."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Producer

from benchmarks.storms.swaps import (
    FAULTLINE,
    TimedTopics,
    gather,
    metric,
    put,
    replaying,
    result_of,
    right,
    simulated,
    storm,
    variants,
)
from model.artefact import Artefact, shipped
from model.artefact.signing import new_keys
from model.spec import load_spec
from stream.registry.topic import publish_model
from stream.settings import Settings
from tests.conftest import Kafka
from tests.delivery.processes.harness import Topics, WorkerProcess, account, wait_until
from tests.stream.model_samples import AT, small_artefact

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

_numbers = itertools.count()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("swaps"), lines=8, seconds=20, seed=7)


@pytest.fixture
def topics(kafka: Kafka) -> TimedTopics:
    return TimedTopics(kafka.bootstrap, f"swaps-{os.getpid()}-{next(_numbers)}").create()


@pytest.fixture
def producer(kafka: Kafka) -> Producer:
    return Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 0, "log_level": 0})


@pytest.fixture
def start(topics: Topics, tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Start real workers, and end those that are left."""
    started: list[WorkerProcess] = []

    def start_one(**environment: str) -> WorkerProcess:
        log = tmp_path / f"worker-{len(started)}.log"
        started.append(WorkerProcess(topics, log, command=(*FAULTLINE, "worker"), **environment))
        return started[-1]

    yield start_one
    for worker in started:
        worker.kill()


def in_use(worker: WorkerProcess, artefact: Artefact) -> bool:
    return metric(worker, f'faultline_model_info{{model_id="{artefact.model_id}",spec="line"}}') == 1


def refused(worker: WorkerProcess, reason: str) -> float:
    return metric(worker, f'faultline_models_refused_total{{reason="{reason}"}}')


@pytest.mark.long
def test_swaps_under_load_mix_no_answers_and_lose_none(topics: TimedTopics, recording: Path, tmp_path: Path) -> None:
    # The last two share no compiled function with the others.
    made = [*variants(4), *variants(2, recompile=True)]
    happened = storm(topics, recording, tmp_path, made, steady_s=2.0, pause_s=0.5)
    result = result_of(gather(topics, shipped("line")), happened)
    print(result)
    assert right(result, 6), result
    assert result["models_that_answered"] == 7


def test_bad_artefacts_put_on_the_topic_are_refused_and_the_worker_goes_on(
    topics: TimedTopics, recording: Path, producer: Producer, start: Callable[..., WorkerProcess], tmp_path: Path
) -> None:
    good, better = variants(2)
    data = better.to_bytes()
    largest = max(len(data), len(good.to_bytes()))
    put(topics, producer, "line", good.to_bytes())
    worker = start(FAULTLINE_MODEL_MAX_BYTES=str(largest)).wait_ready()
    assert in_use(worker, good), "it read the topic to its end before it took windows"
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    bad = {
        "truncated": data[: len(data) // 2],
        "corrupt": bytes(flipped),
        "spec": small_artefact(spec=load_spec("instant")).to_bytes(),
        "shape": small_artefact().to_bytes(),
        "oversize": np.random.default_rng(0).bytes(largest + 1),
    }
    with replaying(topics, recording, tmp_path / "replay.log"):
        for number, (reason, value) in enumerate(bad.items(), start=1):
            put(topics, producer, "line", value)
            wait_until(lambda reason=reason: refused(worker, reason) == 1, f"{reason} to be refused")
            records = metric(worker, "faultline_records_total")
            wait_until(lambda records=records: metric(worker, "faultline_records_total") > records, "further answers")
            assert worker.ready()
            assert in_use(worker, good)
            assert sum(refused(worker, one) for one in bad) == number
        put(topics, producer, "line", data)
        wait_until(lambda: in_use(worker, better), "the good one behind them")
    assert metric(worker, "faultline_model_swaps_total") == 1
    wait_until(lambda: not account(topics).lost, "the last answers")
    assert worker.terminate() == 0
    assert account(topics).repeated == 0
    log = worker.log.read_text()
    assert all(f'"reason": "{reason}"' in log for reason in bad)


def test_with_a_public_key_only_what_is_signed_is_taken(
    topics: TimedTopics, producer: Producer, start: Callable[..., WorkerProcess], tmp_path: Path
) -> None:
    private, public = new_keys(tmp_path / "keys")
    strange, _ = new_keys(tmp_path / "strange")
    champion, unsigned = variants(2)
    worker = start(FAULTLINE_MODEL_PUBLIC_KEYS=str(public)).wait_ready()
    assert in_use(worker, shipped("line")), "the topic is empty"
    put(topics, producer, "line", unsigned.to_bytes())
    wait_until(lambda: refused(worker, "unsigned") == 1, "the unsigned model to be refused")
    publish(topics, unsigned, strange)
    wait_until(lambda: refused(worker, "signature") == 1, "the strangely signed model to be refused")
    assert in_use(worker, shipped("line"))
    publish(topics, champion, private)
    wait_until(lambda: in_use(worker, champion), "the signed model")
    put(topics, producer, "line", None)
    wait_until(lambda: refused(worker, "unsigned") == 2, "the unsigned tombstone to be refused")
    assert in_use(worker, champion)
    # A worker that starts after it uses the champion, which the archive still holds, and no other model.
    assert worker.terminate() == 0
    assert in_use(start(FAULTLINE_MODEL_PUBLIC_KEYS=str(public)).wait_ready(), champion)


def test_a_tombstone_brings_the_shipped_model_back_and_a_shadow_answers_beside_it(
    topics: TimedTopics, recording: Path, producer: Producer, start: Callable[..., WorkerProcess], tmp_path: Path
) -> None:
    champion, candidate = variants(2)
    publish(topics, champion)
    worker = start().wait_ready()
    with replaying(topics, recording, tmp_path / "replay.log"):
        began = time.monotonic()
        put(topics, producer, "line", None)
        wait_until(lambda: in_use(worker, shipped("line")), "the shipped model")
        print(f"taken back within {time.monotonic() - began:.2f} s")
        put(topics, producer, "line/shadow", candidate.to_bytes())
        same = 'faultline_shadow_windows_total{outcome="same"}'
        wait_until(lambda: metric(worker, same) > 1000, "the shadow's answers")
    wait_until(lambda: not account(topics).lost, "the last answers")
    assert worker.terminate() == 0
    found = account(topics)
    assert found.repeated == 0, "a shadow's answers are no answers"
    assert {event["model_id"] for event in found.events} <= {champion.model_id, shipped("line").model_id}
    assert found.shadowed == {candidate.model_id}


def publish(topics: Topics, artefact: Artefact, private_key: Path | None = None) -> None:
    settings = Settings(
        _env_file=None, broker=topics.bootstrap, topic_models=topics.models, model_private_key=private_key
    )
    asyncio.run(publish_model(settings, artefact, spec="line", at=AT, by="tester"))
