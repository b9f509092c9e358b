"""Send records to a topic for a recorder, and compare two topics record by record.

Everything here goes through librdkafka, not through the client that records and replays.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from confluent_kafka import Producer

from model.spec import load_spec
from stream.windowing import encode_windows
from tests.delivery.processes.harness import REPOSITORY, read_all

FAULTLINE = (sys.executable, "-m", "faultline")
SPEC = load_spec("line")
RATE_HZ = 1600.0
START_MS = time.time_ns() // 10**6 - 600_000
"""A time in the past: neither beyond retention nor in the future, which brokers refuse."""
LINES = 24
PER_MESSAGE = 4

Row = tuple[bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...], tuple[int, int]]
"""Key, value, headers, and timestamp with its type."""


def windows_flow(windows: int, seed: int = 7) -> Iterator[dict[str, Any]]:
    """Return records of ``LINES`` lines with a number of windows, among other records that a topic may contain."""
    rng = np.random.default_rng(seed)
    for number in range(-(-windows // PER_MESSAGE)):
        count = min(PER_MESSAGE, windows - number * PER_MESSAGE)
        line, sequence = number % LINES, number // LINES * PER_MESSAGE
        time_ms = START_MS + sequence * 5
        block = rng.random((count, *SPEC.window_shape), np.float32)
        value = encode_windows(block, SPEC, sequence=sequence, start_ns=time_ms * 10**6, rate_hz=RATE_HZ)
        headers: list[tuple[str, bytes | None]] = [("content-type", b"application/msgpack")]
        if number % 50 == 7:
            body = msgspec.msgpack.decode(value)
            value = json.dumps({**body, "data": base64.b64encode(body["data"]).decode(), "note": "ü"}).encode()
            headers = [("content-type", b"application/json"), ("twice", b"1"), ("twice", b"2"), ("empty", b"")]
        if number % 60 == 11:
            headers.append(("null", None))
        yield {"key": f"line-{line:02d}".encode(), "value": value, "headers": headers, "timestamp": time_ms}
        if number % 500 == 3:
            yield {"key": f"line-{line:02d}".encode(), "value": None, "headers": [], "timestamp": time_ms}
            yield {"key": None, "value": b"no key %d" % number, "headers": [], "timestamp": time_ms + 1}
            yield {"key": b"", "value": b"\xff\x00", "headers": [("k", b"\xff")], "timestamp": time_ms}
            yield {"key": None, "value": None, "headers": [("n", b"%d" % number)], "timestamp": time_ms}


def produce(bootstrap: str, topic: str, records: Iterator[dict[str, Any]], over_s: float = 0.0, of: int = 1) -> int:
    """Send records, evenly over some seconds if their number ``of`` is known, and return how many there were."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "enable.idempotence": True, "log_level": 0})
    failed: list[str] = []

    def delivered(error: Any, _: Any) -> None:
        if error is not None:
            failed.append(str(error))

    began_s, sent = time.monotonic(), 0
    for record in records:
        while True:
            try:
                producer.produce(topic, **record, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.05)
        sent += 1
        if sent % 64 == 0:
            producer.poll(0)
            time.sleep(max(0.0, began_s + sent / of * over_s - time.monotonic()))
    left = producer.flush(60)
    assert not left, f"{left} records were not sent"
    assert not failed, failed[:3]
    return sent


def start_recording(bootstrap: str, topic: str, path: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start ``faultline record`` in a process, and return when everything sent from now on will be recorded."""
    process = subprocess.Popen(
        [*FAULTLINE, "record", topic, "--out", str(path), "--broker", bootstrap, "--json", *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while not (line := process.stderr.readline()).startswith("recording "):
        assert line, f"faultline record ended with {process.wait()}"
    return process


def run(*arguments: str) -> str:
    """Return the standard output of a ``faultline`` command that must succeed."""
    done = subprocess.run([*FAULTLINE, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rows_by_key(bootstrap: str, topic: str) -> dict[bytes | None, list[Row]]:
    """Return the records of a topic, per key in the order of its partition.

    Records without a key, or with an empty one, have no order: producers spread them over partitions.
    """
    rows: dict[bytes | None, list[Row]] = defaultdict(list)
    for message in sorted(read_all(bootstrap, [topic]), key=lambda message: (message.partition(), message.offset())):
        headers = tuple(message.headers() or ())
        kind, time_ms = message.timestamp()
        rows[message.key()].append((message.key(), message.value(), headers, (kind, time_ms)))
    for key in (None, b""):
        rows[key].sort(key=repr)
    return dict(rows)


def differences(first: dict[bytes | None, list[Row]], second: dict[bytes | None, list[Row]]) -> list[str]:
    """Describe the differences between two topics."""
    found = [f"only in one: key {key!r}" for key in set(first) ^ set(second)]
    for key in set(first) & set(second):
        if len(first[key]) != len(second[key]):
            found.append(f"{key!r}: {len(first[key])} and {len(second[key])} records")
        for number, (a, b) in enumerate(zip(first[key], second[key], strict=False)):
            if a != b:
                found.append(f"{key!r}, record {number}: {str(a)[:200]} and {str(b)[:200]}")
                break
    return found
