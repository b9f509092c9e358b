"""Recording from Apache Kafka and replaying into it: byte for byte, within the given bounds, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from benchmarks.storms.recording import killed, recorded_and_replayed
from stream.recordings.recording import RecordedMessage, read_recording
from tests.conftest import Kafka
from tests.delivery.processes.harness import REPOSITORY, read_all
from tests.delivery.processes.recorded import (
    START_MS,
    differences,
    produce,
    rows_by_key,
    run,
    start_recording,
    windows_flow,
)

pytestmark = pytest.mark.kafka


def send(kafka: Kafka, topic: str, count: int, first: int = 0, partition: int = 0) -> None:
    """Send records b"0", b"1" … to one partition, 100 ms apart by their own timestamps."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 0})
    for number in range(first, first + count):
        producer.produce(topic, b"%d" % number, b"k", partition=partition, timestamp=START_MS + number * 100)
    assert producer.flush(30) == 0


def values(path: Path) -> list[bytes | None]:
    return [message.value for message in read_recording(path)]


def record(kafka: Kafka, *arguments: str) -> dict[str, object]:
    result: dict[str, object] = json.loads(run("record", *arguments, "--broker", kafka.bootstrap, "--json"))
    return result


def test_what_flows_is_recorded_and_replayed_byte_for_byte_in_order(kafka: Kafka, tmp_path: Path) -> None:
    source, copy = kafka.new_topic("source"), kafka.new_topic("copy")
    result = recorded_and_replayed(kafka.bootstrap, source, copy, tmp_path / "r.parquet", 4000)
    assert (result["windows"], result["first_differences"]) == (4000, [])
    assert len(rows_by_key(kafka.bootstrap, copy)) == 26, "24 lines, the empty key and no key"


def test_a_recorder_that_is_killed_leaves_what_it_wrote(kafka: Kafka, tmp_path: Path) -> None:
    result = killed(kafka.bootstrap, kafka.new_topic("killed"), tmp_path / "r.parquet", 3000)
    assert result["without_a_hole"]
    assert not result["complete"]
    assert 0 < result["kept"] < result["of"]
    topic = kafka.new_topic("replayed")
    said = run("replay", str(tmp_path / "r.parquet"), "--topic", topic, "--pace", "max", "--broker", kafka.bootstrap)
    assert f"sent {result['kept']:,} records" in said
    assert f"{result['kept']:,} records" in run("record", "--repair", str(tmp_path / "r.parquet"))
    assert len(values(tmp_path / "r.parquet")) == result["kept"]


def test_ctrl_c_ends_a_recording_with_everything_in_it(kafka: Kafka, tmp_path: Path) -> None:
    topic, path = kafka.new_topic(partitions=1), tmp_path / "r.parquet"
    send(kafka, topic, 3)
    recorder = start_recording(kafka.bootstrap, topic, path, "--from-beginning")
    send(kafka, topic, 3, first=3)
    assert recorder.stderr is not None
    while "6 records" not in (line := recorder.stderr.readline()):
        assert line
    recorder.send_signal(signal.SIGINT)
    out, err = recorder.communicate(timeout=60)
    assert recorder.returncode == 0, err
    assert (json.loads(out)["records"], json.loads(out)["ended_by"]) == (6, "stop")
    assert values(path) == [b"0", b"1", b"2", b"3", b"4", b"5"]


def test_a_recording_is_bounded_by_count_and_by_times(kafka: Kafka, tmp_path: Path) -> None:
    topic, path = kafka.new_topic(partitions=1), tmp_path / "r.parquet"
    send(kafka, topic, 20)

    def at(number: int) -> str:
        return datetime.fromtimestamp((START_MS + number * 100) / 1000, UTC).isoformat()

    cases: list[tuple[list[str], range, str]] = [
        (["--until-end"], range(20), "end"),
        (["--from-beginning", "--count", "7"], range(7), "count"),
        (["--from", at(5), "--to", at(9)], range(5, 9), "end"),
        (["--from-beginning", "--seconds", "2"], range(20), "seconds"),
    ]
    for arguments, expected, ended_by in cases:
        result = record(kafka, topic, "--out", str(path), "--overwrite", *arguments)
        assert values(path) == [b"%d" % number for number in expected], arguments
        assert result["ended_by"] == ended_by


def test_fewer_records_than_asked_for_is_exit_status_1_and_a_file(kafka: Kafka, tmp_path: Path) -> None:
    topic, path = kafka.new_topic(partitions=1), tmp_path / "r.parquet"
    send(kafka, topic, 3)
    command = [sys.executable, "-m", "faultline", "record", topic, "--until-end", "--count", "5", "--out", str(path)]
    ended = subprocess.run(
        [*command, "--broker", kafka.bootstrap], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "the recording ended after 3 of 5 records" in ended.stderr
    assert len(values(path)) == 3


def test_partitions_are_merged_by_time_and_several_topics_by_pattern(kafka: Kafka, tmp_path: Path) -> None:
    one, two = kafka.new_topic("merged.x", partitions=2), kafka.new_topic("merged.x", partitions=1)
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    places = [(one, 0), (one, 1), (two, 0)]
    for topic, partition in places:
        for number in range(places.index((topic, partition)), 3000, 3):
            producer.produce(topic, b"%d" % number, partition=partition, timestamp=START_MS + number)
    assert producer.flush(30) == 0
    result = record(kafka, "merged.x*", "--until-end", "--out", str(tmp_path / "r.parquet"))
    assert result["topics"] == {one: 2000, two: 1000}
    assert values(tmp_path / "r.parquet") == [b"%d" % number for number in range(3000)]


def test_a_partition_that_appears_is_recorded_from_its_beginning(kafka: Kafka, tmp_path: Path) -> None:
    topic, path = kafka.new_topic(partitions=1), tmp_path / "r.parquet"
    recorder = start_recording(kafka.bootstrap, topic, path, "--count", "4")
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.create_partitions([NewPartitions(topic, 2)])[topic].result(20)
    send(kafka, topic, 2)
    send(kafka, topic, 2, first=2, partition=1)
    err = recorder.communicate(timeout=60)[1]
    assert recorder.returncode == 0, err
    assert sorted(value for value in values(path) if value) == [b"0", b"1", b"2", b"3"]


def test_records_deleted_before_they_were_read_are_reported(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.new_topic(partitions=1, config={"cleanup.policy": "delete"})
    send(kafka, topic, 10)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    recorder = start_recording(kafka.bootstrap, topic, tmp_path / "r.parquet", "--count", "3")
    recorder.send_signal(signal.SIGSTOP)
    # A fetch that was on its way may bring the first two, and no more.
    send(kafka, topic, 2, first=10)
    send(kafka, topic, 8, first=12)
    for future in admin.delete_records([TopicPartition(topic, 0, 17)]).values():
        future.result(20)
    recorder.send_signal(signal.SIGCONT)
    out, err = recorder.communicate(timeout=60)
    assert recorder.returncode == 0, err
    offsets = [message.offset for message in read_recording(tmp_path / "r.parquet")]
    missing = set(range(10, offsets[-1])) - set(offsets)
    assert json.loads(out)["deleted_before_read"] == len(missing) >= 5


def test_a_recording_goes_on_when_the_broker_comes_back(kafka_server: Callable[..., Kafka], tmp_path: Path) -> None:
    broker = kafka_server()
    topic, path = broker.new_topic(partitions=1), tmp_path / "r.parquet"
    recorder = start_recording(broker.bootstrap, topic, path, "--count", "40", "--flush-seconds", "0.5")
    send(broker, topic, 20)
    broker.server.restart(kill=True)
    send(broker, topic, 20, first=20)
    err = recorder.communicate(timeout=120)[1]
    assert recorder.returncode == 0, err
    assert values(path) == [b"%d" % number for number in range(40)]


def test_a_recording_without_a_group_leaves_the_workers_offsets_alone(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.new_topic(partitions=1)
    send(kafka, topic, 3)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    before = {group.group_id for group in admin.list_consumer_groups().result(20).valid}
    record(kafka, topic, "--until-end", "--out", str(tmp_path / "r.parquet"))
    assert {group.group_id for group in admin.list_consumer_groups().result(20).valid} <= before | {"account"}


def test_a_header_name_that_is_not_utf8_is_recorded_and_replayed(kafka: Kafka, tmp_path: Path) -> None:
    source, copy, path = kafka.new_topic(partitions=1), kafka.new_topic(partitions=1), tmp_path / "r.parquet"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.delivery.processes.malformed_headers",
            kafka.bootstrap,
            source,
            "0",
            "0",
            "gxgxg",
        ],
        cwd=REPOSITORY,
        env={**os.environ, "AIOKAFKA_NO_EXTENSIONS": "1"},
        check=True,
        capture_output=True,
    )
    record(kafka, source, "--until-end", "--out", str(path))
    names = [[name.encode("utf-8", "surrogateescape") for name, _ in m.headers] for m in read_recording(path)]
    assert names == [[], [b"\xff\xfe"], [], [b"\xff\xfe"], []]
    run("replay", str(path), "--topic", copy, "--pace", "max", "--broker", kafka.bootstrap)
    again = tmp_path / "again.parquet"
    record(kafka, copy, "--until-end", "--out", str(again))

    def content(message: RecordedMessage) -> tuple[object, ...]:
        return message.key, message.value, list(message.headers), message.timestamp_ms

    assert [content(m) for m in read_recording(again)] == [content(m) for m in read_recording(path)]


def test_records_go_back_to_their_partitions_where_asked_for(kafka: Kafka, tmp_path: Path) -> None:
    source, copy, small = kafka.new_topic(partitions=3), kafka.new_topic(partitions=3), kafka.new_topic(partitions=2)
    for partition in range(3):
        send(kafka, source, 5, first=partition * 5, partition=partition)
    path = str(tmp_path / "r.parquet")
    record(kafka, source, "--until-end", "--out", path)
    options = ["--pace", "max", "--keep-partitions", "--broker", kafka.bootstrap]
    run("replay", path, "--topic", copy, *options)
    assert {(m.partition(), m.value()) for m in read_all(kafka.bootstrap, [copy])} == {
        (number // 5, b"%d" % number) for number in range(15)
    }
    command = [sys.executable, "-m", "faultline", "replay", path, "--topic", small, *options]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert f"{small} has 2 partitions, the recording 3" in ended.stderr


def test_a_replay_of_many_lines_is_recorded_as_many_lines(kafka: Kafka, tmp_path: Path) -> None:
    source, copy, path = kafka.new_topic(), kafka.new_topic(), str(tmp_path / "r.parquet")
    produce(kafka.bootstrap, source, (flow for flow in windows_flow(400) if (flow["key"] or b"").startswith(b"line")))
    record(kafka, source, "--until-end", "--out", path)
    run("replay", path, "--topic", copy, "--pace", "max", "--lines", "3", "--broker", kafka.bootstrap)
    before, after = rows_by_key(kafka.bootstrap, source), rows_by_key(kafka.bootstrap, copy)
    lines = {key: rows for key, rows in before.items() if key}
    assert set(after) - {None, b""} == {key + more for key in lines for more in (b"", b"-2", b"-3")}
    assert not differences(before, {key: rows for key, rows in after.items() if key in before})
