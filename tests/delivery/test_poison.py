"""Poison records at one per cent of the traffic: each becomes a dead letter, and every neighbour is classified."""

from __future__ import annotations

import base64
import os
import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.contract import HEADER_CONTENT_TYPE, JSON
from tests.conftest import Kafka
from tests.delivery.processes.harness import Load, Topics, WorkerProcess, wait_answered
from tests.delivery.processes.marked import RATE_HZ, SPEC, marked_windows

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

Record = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]
WINDOW_BYTES = 4 * SPEC.samples * len(SPEC.channels)
KEY = b"line-poison"


def body(**changed: object) -> bytes:
    """Return a window message that is wrong in one way."""
    right: dict[str, object] = {
        "spec": SPEC.name,
        "sequence": 0,
        "start_ns": 0,
        "rate_hz": RATE_HZ,
        "count": 1,
        "data": bytes(WINDOW_BYTES),
    }
    return msgspec.msgpack.encode({**right, **changed})


def not_finite(value: float) -> bytes:
    windows = marked_windows([0])
    windows[0, 5, 2] = value
    return body(data=windows.tobytes())


poison: st.SearchStrategy[Record] = st.one_of(
    st.just((KEY, None, [])),
    st.just((None, None, [])),
    st.just((None, b"\x81" * 800_000, [])),
    st.just((KEY, b"", [])),
    st.just((None, body(), [])),
    st.just((b"\xff\xfe", body(), [])),
    st.binary(min_size=1, max_size=2000).map(lambda value: (KEY, b"\xc1" + value, [])),
    st.text(min_size=1).map(lambda text: (KEY, ("{" + text).encode(), [(HEADER_CONTENT_TYPE, JSON.encode())])),
    st.integers(0, WINDOW_BYTES - 1).map(lambda size: (KEY, body(data=bytes(size)), [])),
    st.integers(2, 2**60).map(lambda count: (KEY, body(count=count), [])),
    st.integers(max_value=-1, min_value=-(2**60)).map(lambda number: (KEY, body(sequence=number), [])),
    st.sampled_from(["instant", "", "LINE", "x" * 5000]).map(lambda name: (KEY, body(spec=name), [])),
    st.sampled_from([float("nan"), float("inf"), -float("inf")]).map(lambda value: (KEY, not_finite(value), [])),
    st.sampled_from([float("nan"), float("inf"), 0.0, -50.0]).map(lambda rate: (KEY, body(rate_hz=rate), [])),
    st.lists(st.integers(-5, 50), min_size=2, max_size=4).map(lambda labels: (KEY, body(labels=labels), [])),
    st.just((KEY, body(data=bytes(1000 * WINDOW_BYTES), count=1000)[:900_000], [])),
    st.just((KEY, b"\x81" * 100_000, [])),
    st.just((KEY, b"[" * 100_000, [(HEADER_CONTENT_TYPE, JSON.encode())])),
    st.just((KEY, msgspec.json.encode({"data": base64.b64encode(b"xx").decode()}), [])),
)


@pytest.fixture(scope="module")
def corpus() -> list[Record]:
    """Return a few hundred different poison records, the same in every run."""
    found: list[Record] = []

    @settings(max_examples=300, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(poison)
    def collect(record: Record) -> None:
        found.append(record)

    collect()
    return found


def test_poison_at_one_per_cent_is_dead_lettered_and_costs_no_neighbour(
    kafka: Kafka, tmp_path: Path, corpus: list[Record]
) -> None:
    topics = Topics(kafka.bootstrap, f"poison-{os.getpid()}").create()
    load, chance = Load(topics, lines=12), random.Random(7)
    worker = WorkerProcess(topics, tmp_path / "worker.log", FAULTLINE_MAX_MESSAGE_BYTES="700000").wait_ready()
    try:
        for record in corpus:
            key, value, headers = record
            load.send_raw(key, value, headers)
            load.send(8 + chance.randint(0, 1))
        found = wait_answered(topics)
        print(found.summary(), dict(found.dead_reasons))
        assert not found.lost
        assert len(found.dead) == len(corpus)
        assert sum(found.dead.values()) == len(corpus), "each once"
        assert found.steps() == load.expected_steps()
        assert worker.alive
        assert set(found.dead_reasons) == {
            "empty",
            "tombstone",
            "bad-key",
            "bad-bytes",
            "wrong-shape",
            "wrong-spec",
            "not-finite",
            "oversize",
        }
    finally:
        worker.kill()
