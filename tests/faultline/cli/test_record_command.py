"""``faultline record`` as users run it, on an embedded broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from faultline.cli.streaming.record import parse_end, size_text
from stream.kafka.embedded import EmbeddedBroker
from stream.recordings.recording import RecordedMessage, RecordingWriter, read_recording

REPOSITORY = Path(__file__).resolve().parents[3]
DEADLINE_S = 120
BEGIN_MS = 1_700_000_000_000


def run(broker: str, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "faultline", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "FAULTLINE_BROKER": broker},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    return done.returncode, done.stdout, done.stderr


async def publish(broker: str, topic: str, count: int) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
        for number in range(count):
            await producer.send_and_wait(topic, b"%d" % number, key=b"k", timestamp_ms=BEGIN_MS + number)


async def test_a_recording_of_an_embedded_broker_says_what_it_holds(
    embedded_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    broker, path = embedded_broker.bootstrap, tmp_path / "r.parquet"
    await publish(broker, "one", 5)
    status, out, err = run(broker, "record", "one", "--until-end", "--out", str(path))
    assert status == 0, err
    assert out.startswith("recorded 5 records, 10 B in ")
    assert "recording one (" in err
    assert [message.value for message in read_recording(path)] == [b"0", b"1", b"2", b"3", b"4"]
    begin = datetime.fromtimestamp((BEGIN_MS + 3) / 1000, UTC).isoformat()
    options = ["--from", begin, "--until-end", "--overwrite", "--json"]
    status, out, err = run(broker, "record", "one", "--out", str(path), *options)
    assert status == 0, err
    assert json.loads(out)["records"] == 2, "times are looked at one by one where a broker does not look them up"
    assert [message.value for message in read_recording(path)] == [b"3", b"4"]


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["--out", "pyproject.toml"], 1, "pyproject.toml exists: give --overwrite"),
        (["--to", "noon"], 2, "--to noon: give an ISO time"),
        (["--from", "noon"], 2, "--from noon: give earliest, latest or an ISO time"),
        (["--from", "latest", "--from-beginning"], 2, "exclude each other"),
        (["--repair", "none.parquet"], 1, "no such recording: none.parquet"),
        (["--repair", "pyproject.toml"], 1, "not a Parquet file, or its end is missing"),
        (["--out", "/nowhere/r.parquet"], 1, "no broker at localhost:1"),
    ],
)
def test_what_is_wrong_is_one_line_and_an_exit_status(arguments: list[str], status: int, complaint: str) -> None:
    ended, out, err = run("localhost:1", "record", *arguments)
    assert (ended, out) == (status, "")
    assert complaint in err
    assert len(err.splitlines()) == 1


def test_a_folder_that_is_not_there_and_a_pattern_without_a_topic_are_reported(
    embedded_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    status, _, err = run(embedded_broker.bootstrap, "record", "one", "--out", str(tmp_path / "no" / "r.parquet"))
    assert status == 1
    assert "cannot write" in err
    status, _, err = run(embedded_broker.bootstrap, "record", "no.*", "--out", str(tmp_path / "r.parquet"))
    assert status == 1
    assert "no topic matches 'no.*'" in err
    assert list(tmp_path.iterdir()) == []


def test_a_killed_recording_is_repaired(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    writer = RecordingWriter(path, keep=True)
    writer.write(RecordedMessage("t", 0, 0, 0, b"k", b"v"))
    writer.flush()
    status, out, err = run("localhost:1", "record", "--repair", str(path))
    assert (status, out) == (0, f"{path} is plain Parquet: 1 records\n"), err
    assert path.read_bytes().endswith(b"PAR1")


def test_sizes_and_times_are_read_and_written() -> None:
    assert [size_text(size) for size in (0, 999, 1000, 76_800_000, 5e15)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "76.8 MB",
        "5000.0 TB",
    ]
    assert parse_end("1970-01-01T00:00:01.5+00:00") == 1500
    assert parse_end(None) is None
