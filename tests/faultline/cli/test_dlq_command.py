"""``faultline dlq``: dead letters are listed, shown and sent again, on an embedded broker."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from stream.contract import DeadLetterReason
from stream.dead_letters.letters import HEADER_REDRIVEN
from stream.dead_letters.publish import dead_letter
from stream.detection.decode import DeadRecord
from stream.kafka.clients import producer_kwargs
from stream.kafka.embedded import EmbeddedBroker
from stream.kafka.producing.raw_producer import send_any
from stream.kafka.reading.reader import StartAt, TopicReader
from stream.settings import load_settings
from tests.stream.dead_letters.test_letters import Record


def dlq(broker: EmbeddedBroker, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FAULTLINE_")}
    return subprocess.run(
        [sys.executable, "-m", "faultline", "dlq", *arguments],
        env={**environment, "FAULTLINE_BROKER": broker.bootstrap, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def died(
    value: bytes | None, key: bytes, reason: DeadLetterReason, *, redriven: bool = False, offset: int = 0
) -> DeadRecord:
    headers: list[tuple[str, bytes | None]] = [("gateway", b"g1")]
    if redriven:
        headers.append((HEADER_REDRIVEN, b"sensor-windows.dlq/0/0"))
    return DeadRecord(Record("sensor-windows", 0, offset, 1_700_000_000_000, key, value, headers), reason, "as it was")


@pytest.fixture
def broker(embedded_broker: EmbeddedBroker) -> EmbeddedBroker:
    """Write three letters with two reasons, one of them sent again before, and a record that is not a dead letter."""
    settings = load_settings(broker=embedded_broker.bootstrap)
    deaths = [
        died(b"{", b"feeder-7", "bad-bytes"),
        died(b"[", b"feeder-8", "bad-bytes"),
        died(b"{again", b"feeder-7", "wrong-spec", redriven=True),
    ]

    async def send() -> None:
        async with AIOKafkaProducer(**producer_kwargs(settings)) as producer:
            for one in deaths:
                out = dead_letter(one, settings.topic_dead_letters)
                await (
                    await send_any(
                        producer, out.topic, out.value, out.key, headers=out.headers, timestamp_ms=None, partition=0
                    )
                )
            await producer.send_and_wait(settings.topic_dead_letters, b"?", b"stranger", partition=0)

    asyncio.run(send())
    return embedded_broker


def all_records(broker: EmbeddedBroker, topic: str) -> list[tuple[bytes | None, bytes | None, Sequence[object]]]:
    """Return key, value and headers of every record on a topic."""

    async def read() -> list[tuple[bytes | None, bytes | None, Sequence[object]]]:
        found = []
        async with TopicReader(load_settings(broker=broker.bootstrap), [topic], StartAt("earliest")) as reader:
            await reader.fix_ends()
            while reader.behind():
                for records in (await reader.fetch()).values():
                    found += [(record.key, record.value, record.headers) for record in records]
        return found

    return asyncio.run(read())


def test_letters_are_counted_by_reason_and_other_records_are_reported_and_left_out(broker: EmbeddedBroker) -> None:
    shown = dlq(broker, "list", "--json")
    assert shown.returncode == 0, shown.stderr
    counts = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [(one["reason"], one["letters"]) for one in counts] == [("bad-bytes", 2), ("wrong-spec", 1)]
    assert counts[0]["sources"] == {"feeder-7": 1, "feeder-8": 1}
    assert counts[0]["example"] == "0:1"
    assert "1 records of sensor-windows.dlq do not state their cause" in shown.stderr
    assert "bad-bytes" in dlq(broker, "list", "--line", "feeder-8").stdout


def test_one_letter_is_shown_with_its_cause_and_written_as_a_file(broker: EmbeddedBroker, tmp_path: Path) -> None:
    shown = dlq(broker, "show", "0:1", "--out", str(tmp_path / "letter.bin"))
    assert shown.returncode == 0, shown.stderr
    assert "bad-bytes: as it was" in shown.stdout
    assert "from sensor-windows 0:0, sent 2023-11-14T22:13:20.000Z" in shown.stdout
    assert "header 'gateway': b'g1'" in shown.stdout
    assert (tmp_path / "letter.bin").read_bytes() == b"["


def test_a_place_where_nothing_is_and_a_record_that_is_no_letter_are_errors_of_one_line(
    broker: EmbeddedBroker,
) -> None:
    for place, said in (("0:99", "no dead letter at 0:99"), ("0:3", "not a dead letter of"), ("x", "PARTITION:OFF")):
        refused = dlq(broker, "show", place)
        assert refused.returncode != 0
        assert said in refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1


def test_letters_go_back_to_where_they_came_from_and_what_died_twice_stays_until_it_is_asked_for(
    broker: EmbeddedBroker,
) -> None:
    dry = dlq(broker, "redrive", "--dry-run")
    assert "2 would be sent" in dry.stdout, dry.stderr
    assert all_records(broker, "sensor-windows") == []
    sent = dlq(broker, "redrive")
    assert sent.returncode == 0, sent.stderr
    assert "2 sent again and acknowledged" in sent.stdout
    assert "1 skipped: redriven before" in sent.stdout
    back = sorted(all_records(broker, "sensor-windows"))
    assert [(key, value) for key, value, _ in back] == [(b"feeder-7", b"{"), (b"feeder-8", b"[")]
    assert list(back[0][2]) == [("gateway", b"g1"), (HEADER_REDRIVEN, b"sensor-windows.dlq/0/0")]
    again = dlq(broker, "redrive", "--again", "--reason", "wrong-spec", "--topic", "other")
    assert "1 sent again and acknowledged" in again.stdout
    assert [value for _, value, _ in all_records(broker, "other")] == [b"{again"]


def test_a_reason_that_there_is_not_is_refused_with_those_that_there_are(broker: EmbeddedBroker) -> None:
    refused = dlq(broker, "list", "--reason", "nonsense")
    assert refused.returncode == 2
    assert "bad-bytes" in refused.stderr
