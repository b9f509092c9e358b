"""The embedded broker behaves as its docstring describes, and stops when it must."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from confluent_kafka.admin import AdminClient

from benchmarks.kafka.server import answers_clients, is_alive
from stream.kafka.embedded import PARTITIONS, EmbeddedBroker, is_embedded

SERVE = (
    "from functools import partial; from pathlib import Path; from stream.kafka import embedded; "
    "serve = partial(embedded.serve, on_start=partial(print, flush=True)); "
)


def _gone(pid: int, deadline_s: float = 20.0) -> bool:
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if not is_alive(pid):
            return True
        time.sleep(0.05)
    return False


def test_a_topic_appears_with_four_partitions_when_it_is_asked_for(embedded_broker: EmbeddedBroker) -> None:
    admin = AdminClient({"bootstrap.servers": embedded_broker.bootstrap})
    assert len(admin.list_topics("sensor-windows", timeout=10).topics["sensor-windows"].partitions) == PARTITIONS


def test_its_cluster_id_identifies_it(embedded_broker: EmbeddedBroker) -> None:
    admin = AdminClient({"bootstrap.servers": embedded_broker.bootstrap})
    assert is_embedded(admin.list_topics(timeout=10).cluster_id)
    assert not is_embedded("RmF1bHRsaW5lLUthZmthLTE")
    assert not is_embedded(None)


@pytest.mark.parametrize("compression", [None, "gzip", "lz4", "snappy", "zstd"])
async def test_idempotent_compressed_records_come_back_with_key_and_headers(
    embedded_broker: EmbeddedBroker, compression: str | None
) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=embedded_broker.bootstrap, enable_idempotence=True, compression_type=compression
    )
    async with producer:
        for number in range(10):
            await producer.send_and_wait(
                "t", b"%d" % number, key=b"line", partition=1, headers=[("h", b"1"), ("h", b"2")]
            )
    consumer = AIOKafkaConsumer(bootstrap_servers=embedded_broker.bootstrap, auto_offset_reset="earliest")
    async with consumer:
        consumer.assign([TopicPartition("t", 1)])
        records = [await consumer.getone() for _ in range(10)]
    assert [record.value for record in records] == [b"%d" % number for number in range(10)]
    assert {record.key for record in records} == {b"line"}
    assert records[0].headers == (("h", b"1"), ("h", b"2"))


@pytest.mark.slow
async def test_a_group_member_goes_on_where_the_last_one_committed(embedded_broker: EmbeddedBroker) -> None:
    async with AIOKafkaProducer(bootstrap_servers=embedded_broker.bootstrap) as producer:
        for number in range(6):
            await producer.send_and_wait("t", b"%d" % number, partition=0)

    def member() -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            "t",
            bootstrap_servers=embedded_broker.bootstrap,
            group_id="g",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )

    async with member() as first:
        for _ in range(4):
            await first.getone()
        await first.commit({TopicPartition("t", 0): 4})
    async with member() as second:
        assert (await second.getone()).value == b"4"


def test_nothing_answers_after_stop() -> None:
    broker = EmbeddedBroker()
    broker.start()
    address = broker.bootstrap
    assert answers_clients(address, timeout_s=10)
    broker.stop()
    assert not answers_clients(address, timeout_s=1)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_serve_prints_its_address_and_ends_on_a_signal(tmp_path: Path, end: signal.Signals) -> None:
    port_file = tmp_path / "port"
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE + f"serve(port_file=Path({str(port_file)!r}))"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert answers_clients(address, timeout_s=10)
    assert port_file.read_text().strip() == address
    process.send_signal(end)
    rest, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert rest == ""


def test_serve_with_parent_ends_when_its_parent_is_killed() -> None:
    child = [sys.executable, "-c", SERVE + "serve(with_parent=True)"]
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import subprocess, time; c = subprocess.Popen({child!r}, stdout=subprocess.PIPE, text=True);"
            "c.stdout.readline(); print(c.pid, flush=True); time.sleep(600)",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    broker_pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert _gone(broker_pid)
