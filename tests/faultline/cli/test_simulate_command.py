"""``faultline simulate`` writes what ``faultline replay`` reads."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from domains.powerline.data.scenario import scenario
from faultline.cli.waveforms.simulate import simulate
from stream.contract import is_simulated
from stream.recordings.recording import read_recording


def run(out: Path, events: Path | None = None) -> None:
    simulate(out, lines=2, seconds=5, seed=3, hz=50, events=events, topic="sensor-windows", windows_per_message=4)


def test_a_recording_holds_every_window_of_every_line_in_the_order_of_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path / "r.parquet", tmp_path / "events.json")
    messages = list(read_recording(tmp_path / "r.parquet"))
    record = scenario(2, 5, seed=3)
    times = [message.timestamp_ms for message in messages]
    assert times == sorted(times)
    assert all(is_simulated(message.headers) for message in messages)
    assert {message.key for message in messages} == {b"line-0000", b"line-0001"}
    for line in range(2):
        bodies = [msgspec.msgpack.decode(m.value) for m in messages if m.key == f"line-{line:04d}".encode()]
        data = np.concatenate([np.frombuffer(b["data"], "<f4").reshape(b["count"], 32, 6) for b in bodies])
        labels = np.concatenate([b["labels"] for b in bodies])
        assert [b["sequence"] for b in bodies] == list(range(0, len(data), 4))
        np.testing.assert_array_equal(data[10], record.samples[line, 80:112])
        np.testing.assert_array_equal(labels, record.labels[line, 31::8])
    entries = json.loads((tmp_path / "events.json").read_text())
    assert len(entries) == len(record.events)
    assert "2 lines" in capsys.readouterr().out


def test_the_same_seed_writes_the_same_messages(tmp_path: Path) -> None:
    run(tmp_path / "a.parquet")
    run(tmp_path / "b.parquet")
    assert list(read_recording(tmp_path / "a.parquet")) == list(read_recording(tmp_path / "b.parquet"))
