"""The benchmark itself, on a small scale: it measures what happened, and a failed run yields no figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.contenders import BY_NAME, OURS
from benchmarks.harness.broker import PROPERTIES, BenchError
from benchmarks.harness.environment import Environment, Filled
from benchmarks.throughput import endurance
from benchmarks.throughput.latency import measure_latency
from benchmarks.throughput.throughput import measure_throughput
from tests.conftest import Kafka

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


@pytest.fixture
def environment(kafka_server: Callable[..., Kafka], tmp_path: Path) -> Environment:
    broker = kafka_server(properties=PROPERTIES)
    return Environment(broker.bootstrap, tmp_path, partitions=2)


@pytest.mark.long
def test_faultline_and_a_bare_loop_take_the_same_backlog(environment: Environment) -> None:
    found = {}
    for name in (OURS, "aiokafka_bare"):
        filled = environment.filled(BY_NAME[name], 20_000, 4)
        found[name] = measure_throughput(environment, BY_NAME[name], filled, 4, "answers", None)
    ours, bare = found[OURS], found["aiokafka_bare"]
    assert ours.windows == bare.windows == 20_000 + 2 * 2 * 4, "beside the first and the last of either partition"
    assert bare.outputs == bare.windows // 4
    assert ours.outputs > bare.outputs, "events beside the answers"
    for one in found.values():
        assert min(one.windows_per_s, one.by_commits_per_s, one.cpu_s_per_million, one.peak_rss_mb) > 0


@pytest.mark.long
def test_latencies_are_of_a_steady_load_and_an_overload_loses_nothing(environment: Environment) -> None:
    latency = measure_latency(environment, BY_NAME[OURS], messages_per_s=400, seconds=4, load="some")
    assert latency.outputs > 20
    assert 0 <= latency.appended_ms[0] <= latency.due_ms[0]
    overload = endurance.overload(environment, messages_per_s=4_000, seconds=3)
    assert overload.records >= 12_000
    assert (overload.lost, overload.assignments) == (0, 1)


def test_a_contender_that_ends_has_no_figures(environment: Environment) -> None:
    filled = environment.filled(BY_NAME["aiokafka_bare"], 100, 1)
    wrong = Environment(
        environment.bootstrap,
        environment.folder,
        partitions=2,
        artefact=str(environment.folder / "no-such.safetensors"),
    )
    with pytest.raises(BenchError, match=r"no-such\.safetensors"):
        measure_throughput(
            wrong, BY_NAME["aiokafka_bare"], Filled(filled.topic, filled.records, filled.windows), 1, "events", None
        )
