"""The tests' Apache Kafka starts, keeps its data over a crash, and reports what is missing."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.kafka import jars
from benchmarks.kafka.jars import java_command, prepare_jars
from benchmarks.kafka.server import KafkaServer, answers_clients
from stream.errors import KafkaServerError


async def _send(bootstrap: str, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True) as producer:
        await producer.send_and_wait(topic, value, partition=0)


async def _read(bootstrap: str, topic: str, count: int) -> list[bytes]:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        return [(await consumer.getone()).value for _ in range(count)]


async def test_records_and_port_survive_a_kill_and_a_stop(kafka_server: Callable[..., Any]) -> None:
    kafka = kafka_server()
    address = kafka.bootstrap
    kafka.create_topic("t", 1)
    await _send(address, "t", b"before the kill")
    kafka.server.restart(kill=True)
    assert kafka.bootstrap == address
    await _send(address, "t", b"before the stop")
    kafka.server.restart()
    assert kafka.bootstrap == address
    assert await _read(address, "t", 2) == [b"before the kill", b"before the stop"]
    kafka.server.stop()
    assert kafka.server.pid is None
    assert not answers_clients(address, timeout_s=1)
    assert "Kafka Server started" in kafka.server.log_file.read_text()


@pytest.mark.kafka
def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = KafkaServer(tmp_path, port=port)
        with pytest.raises(KafkaServerError, match=f"127.0.0.1:{port}"):
            server.start()
    assert server.pid is None


@pytest.mark.kafka
def test_a_wrong_server_property_is_reported_with_the_reason(tmp_path: Path) -> None:
    server = KafkaServer(tmp_path, properties={"num.io.threads": "none"})
    with pytest.raises(KafkaServerError, match=r"num\.io\.threads"):
        server.start()


def test_missing_java_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(KafkaServerError, match="install a JRE"):
        java_command()


def test_missing_maven_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(jars, "STATE_FOLDER", tmp_path)
    with pytest.raises(KafkaServerError, match="install it"):
        prepare_jars()


def test_prepared_jars_need_no_maven(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(jars, "STATE_FOLDER", tmp_path)
    jars.jar_folder().mkdir(parents=True)
    assert prepare_jars() == jars.jar_folder()


def test_a_failing_maven_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    maven = tmp_path / "mvn"
    maven.write_text("#!/bin/sh\necho '[ERROR] no such host: repo'\nexit 1\n")
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(jars, "STATE_FOLDER", tmp_path / "state")
    with pytest.raises(KafkaServerError, match="no such host: repo"):
        prepare_jars()
    assert not jars.jar_folder().exists()


def test_of_two_at_once_one_fetches_and_the_other_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    maven = tmp_path / "mvn"
    maven.write_text(
        '#!/bin/sh\necho called >> "$0.calls"\nsleep 0.5\n'
        'for given; do case "$given" in -DoutputDirectory=*) mkdir "${given#*=}";; esac; done\n'
    )
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(jars, "STATE_FOLDER", tmp_path / "state")
    with ThreadPoolExecutor(2) as two:
        folders = {running.result() for running in [two.submit(prepare_jars) for _ in range(2)]}
    assert folders == {jars.jar_folder()}
    assert (tmp_path / "mvn.calls").read_text() == "called\n"


def test_outside_a_checkout_the_message_offers_other_brokers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(jars, "POM", tmp_path / "pom.xml")
    with pytest.raises(KafkaServerError, match="needs a checkout"):
        prepare_jars()
