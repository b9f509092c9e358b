"""``faultline replay`` and ``faultline subscribe`` as users run them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiokafka import AIOKafkaProducer

from domains.powerline.events import PowerLineFaultEvent
from domains.powerline.waveforms import open_waveforms
from model.spec import load_spec
from stream.contract import SourceRecord
from stream.kafka.embedded import EmbeddedBroker
from stream.recordings.recording import RecordedMessage, RecordingWriter
from stream.windowing import MSGPACK_HEADERS, window_messages

REPOSITORY = Path(__file__).resolve().parents[3]
DEADLINE_S = 60
EVENT = PowerLineFaultEvent(
    event_id="1",
    episode_id="e",
    line="feeder-7",
    state="clear",
    fault_class="BCG",
    fault_type="llg",
    phases="BC",
    ground=True,
    ground_probability=0.9,
    confidence=0.9,
    probabilities={"BCG": 0.9},
    inception_ns=1_700_000_000_000_000_000,
    detection_ns=1_700_000_000_125_000_000,
    duration_s=0.0825,
    duration_cycles=4.125,
    quality=["gap"],
    spec="line",
    model_id="m",
    sequence=1,
    source=SourceRecord(topic="sensor-windows", partition=0, offset=0),
)


def command(broker: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "faultline", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "FAULTLINE_BROKER": broker},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(broker: str, *arguments: str) -> tuple[int, str, str]:
    process = command(broker, *arguments)
    out, err = process.communicate(timeout=DEADLINE_S)
    return process.returncode, out, err


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Write 25 messages of 4 windows."""
    spec, path = load_spec("line"), tmp_path / "recording.parquet"
    samples = np.zeros((32 + 99 * 8, 6), np.float32)
    with RecordingWriter(path) as writer:
        for at, message in enumerate(window_messages("l", samples, spec, rate_hz=1600.0, start_ns=10**18)):
            writer.write(RecordedMessage("w", 0, at, message.end_ns // 10**6, b"l", message.value, MSGPACK_HEADERS))
    return path


def test_a_replay_prints_the_exact_count(embedded_broker: EmbeddedBroker, recording: Path) -> None:
    status, out, err = run(embedded_broker.bootstrap, "replay", str(recording), "--pace", "max", "--json")
    assert status == 0, err
    count: dict[str, Any] = json.loads(out)
    assert (count["records"], count["confirmed_records"]) == (25, 25)
    assert (count["windows"], count["confirmed_windows"]) == (100, 100)


def test_a_paced_replay_of_a_part_reports_how_well_the_pace_was_kept(
    embedded_broker: EmbeddedBroker, recording: Path
) -> None:
    # 25 messages, 20 ms apart.
    stretch = ["--from", "0.1", "--to", "0.3", "--lines", "3"]
    status, out, err = run(embedded_broker.bootstrap, "replay", str(recording), *stretch)
    assert status == 0, err
    assert "sent 30 records with 120 windows in " in out
    assert re.search(r"lateness of records: median [\d.]+ ms, p99 [\d.]+ ms, drift [+-][\d.]+ ms", out)


def test_a_looped_replay_ends_at_ctrl_c_with_everything_confirmed(
    embedded_broker: EmbeddedBroker, recording: Path
) -> None:
    # Faust would take --loop as its own option when it is imported.
    process = command(embedded_broker.bootstrap, "replay", "--loop", str(recording), "--json", "--pace", "40")
    assert process.stderr is not None
    while "records" not in (line := process.stderr.readline()):
        assert line, process.communicate()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err
    count = json.loads(out)
    assert count["records"] == count["confirmed_records"] > 25


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["replay", "none.parquet"], 1, "no such file to replay: none.parquet"),
        (["replay", "pyproject.toml"], 1, "cannot be replayed; supported kinds"),
        (["replay", "pyproject.toml", "--pace", "fast"], 2, "--pace fast: give a number above 0"),
        (["replay", "pyproject.toml", "--from", "noon"], 2, "--from noon: give seconds from the beginning, or an ISO"),
        (["subscribe", "lgg"], 2, "no fault type lgg; there are lg, ll"),
        (["subscribe", "--state", "on"], 2, "unknown state on: use onset, update, clear"),
        (["subscribe", "--from", "noon"], 2, "earliest, latest or an ISO time"),
        (["subscribe", "--limit", "1"], 1, "no broker at localhost:1"),
    ],
)
def test_what_is_wrong_is_one_line_and_an_exit_status(arguments: list[str], status: int, complaint: str) -> None:
    ended, out, err = run("localhost:1", *arguments)
    assert (ended, out) == (status, "")
    assert complaint in err
    assert len(err.splitlines()) == 1


def test_findings_about_a_record_are_lines_for_a_person(embedded_broker: EmbeddedBroker, tmp_path: Path) -> None:
    path, times = tmp_path / "feeder.csv", np.arange(1600) / 3200
    waves = [np.sin(2 * np.pi * (50 * times - k / 3)) for k in range(3)]
    columns = [times, 400 * waves[0], 0 * times, 400 * waves[2], *(63_000 * wave for wave in waves)]
    np.savetxt(path, np.stack(columns, axis=1), delimiter=",", header="time,ia,ib,ic,va,vb,vc", comments="")
    status, out, err = run(embedded_broker.bootstrap, "replay", str(path), "--pace", "max", "--restamp")
    assert status == 0, err
    assert "feeder.csv: line 1: ib is constant" in err.splitlines()
    assert "all acknowledged" in out


def test_a_record_without_a_line_is_the_sentence_of_classify(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    rows = np.random.default_rng(1).random((50, 2))
    np.savetxt(path, np.column_stack([np.arange(50) / 1000, rows]), delimiter=",", header="time,x,y", comments="")
    status, out, err = run("localhost:1", "replay", str(path))
    assert (status, out) == (1, "")
    assert err == f"faultline: {path}: {open_waveforms(path).no_line}\n"


@pytest.mark.kafka
def test_a_missing_topic_is_named_before_anything_is_sent(kafka: Any, recording: Path) -> None:
    status, _, err = run(kafka.bootstrap, "replay", str(recording), "--topic", "no-such-topic")
    assert status == 1
    assert "missing topics no-such-topic" in err


async def _publish(broker: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
        await producer.send_and_wait("faults.llg", EVENT.model_dump_json().encode(), key=b"feeder-7")


async def test_an_event_is_printed_for_people_and_for_programs(embedded_broker: EmbeddedBroker) -> None:
    broker = embedded_broker.bootstrap
    await _publish(broker)
    status, out, err = run(broker, "subscribe", "--from", "earliest", "--limit", "1")
    assert status == 0, err
    in_words = "2023-11-14 22:13:20.125Z feeder-7 clear BCG phases BC to ground lasted 82 ms, 4.1 cycles (gap)"
    assert " ".join(out.split()) == in_words
    status, out, err = run(broker, "subscribe", "llg", "--from", "earliest", "--limit", "1", "--json")
    assert PowerLineFaultEvent.model_validate_json(out) == EVENT


async def test_too_few_events_in_time_is_exit_status_1(embedded_broker: EmbeddedBroker) -> None:
    await _publish(embedded_broker.bootstrap)
    arguments = ["subscribe", "--from", "earliest", "--line", "another", "--limit", "1", "--timeout", "2"]
    status, out, err = run(embedded_broker.bootstrap, *arguments)
    assert (status, out) == (1, "")
    assert "only 0 of 1 events arrived within 2 s" in err
