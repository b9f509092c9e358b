"""Copies of one record as many lines: rotated phases, shifted times, everything else unchanged."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from domains.powerline.fan_out import STAGGER_NS, FanOut, phase_columns, rotated, rotated_classes
from model.spec import SignalSpec, load_spec
from stream.errors import RecordingError
from stream.recordings.recording import RecordedMessage, RecordingWriter
from stream.recordings.sources import SamplesSource, SourceOptions, open_source
from stream.windowing import window_messages

SPEC = load_spec("line")
RATE_HZ = 1600.0
START_NS = 1_700_000_000_000_000_000
LABEL = SPEC.class_index("AB")


def sine() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return balanced currents and voltages, a before b before c, with 0.1 added to a."""
    angle = 2 * np.pi * np.arange(320) / 32
    phases = [np.sin(angle - shift) for shift in (0, 2 * np.pi / 3, 4 * np.pi / 3)]
    samples = np.stack([*phases, *phases], axis=1).astype(np.float32)
    samples[:, 0] += 0.1
    return samples


def multiplied(copies: int) -> FanOut:
    options = SourceOptions(windows_per_message=4, start_ns=START_NS)
    return FanOut(SamplesSource([("feeder", sine(), np.full(320, LABEL))], SPEC, RATE_HZ, options), copies, SPEC)


def bodies(source: FanOut, key: bytes) -> list[dict[str, Any]]:
    return [msgspec.msgpack.decode(record.value or b"") for record in source.records() if record.key == key]


def block(body: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.frombuffer(body["data"], "<f4").reshape(-1, *SPEC.window_shape)


def test_the_first_copy_is_the_line_itself_byte_for_byte() -> None:
    single = [record.value for record in multiplied(1).records()]
    assert [record.value for record in multiplied(4).records() if record.key == b"feeder"] == single


def test_every_copy_has_its_phases_rotated_and_its_time_moved() -> None:
    source = multiplied(4)
    first = bodies(source, b"feeder")
    for copy, (columns, label) in enumerate(
        [((2, 0, 1, 5, 3, 4), "BC"), ((1, 2, 0, 4, 5, 3), "CA"), ((0, 1, 2, 3, 4, 5), "AB")], start=1
    ):
        for before, after in zip(first, bodies(source, b"feeder-%d" % (copy + 1)), strict=True):
            np.testing.assert_array_equal(block(after), block(before)[..., list(columns)])
            assert after["start_ns"] == before["start_ns"] + copy * STAGGER_NS
            assert set(after["labels"]) == {SPEC.class_index(label)}
            assert (after["sequence"], after["count"], after["rate_hz"]) == (
                before["sequence"],
                before["count"],
                before["rate_hz"],
            )


def test_rotation_keeps_a_before_b_before_c() -> None:
    for copy in (2, 3):
        window = block(bodies(multiplied(3), b"feeder-%d" % copy)[0])[0]
        voltages = window[:, 3:] @ np.array([1, np.exp(2j * np.pi / 3), np.exp(4j * np.pi / 3)])
        turning = np.angle(voltages[1:] / voltages[:-1])
        assert (turning > 0).all(), "positive sequence turns forward"


def test_records_of_all_lines_come_in_time_order_and_none_is_missing() -> None:
    source = multiplied(5)
    records = list(source.records())
    assert source.total == len(records) == 5 * len(bodies(source, b"feeder"))
    assert [record.due_ns for record in records] == sorted(record.due_ns for record in records)


def test_json_windows_are_rotated_as_text_and_as_lists() -> None:
    columns = phase_columns(SPEC)
    window = np.arange(192, dtype="<f4").reshape(1, 32, 6)
    body = {"spec": "line", "sequence": 1, "start_ns": 2, "rate_hz": 1600.0, "count": 1, "mine": "kept"}
    text = msgspec.json.encode({**body, "data": base64.b64encode(window.tobytes()).decode()})
    lists = msgspec.json.encode({**body, "data": window.tolist()})
    from_text = msgspec.json.decode(rotated(text, 1, SPEC, columns, by_ns=5))
    from_lists = msgspec.json.decode(rotated(lists, 1, SPEC, columns))
    np.testing.assert_array_equal(np.asarray(from_lists["data"]), window[..., [2, 0, 1, 5, 3, 4]])
    assert base64.b64decode(from_text["data"]) == window[..., [2, 0, 1, 5, 3, 4]].tobytes()
    assert (from_text["mine"], from_text["start_ns"], from_lists["start_ns"]) == ("kept", 7, 2)


def test_classes_rotate_with_the_phases_and_three_times_is_no_change() -> None:
    names = SPEC.class_names
    after = {
        name: names[index] for name, index in zip(names, rotated_classes(SPEC, 1), strict=True) if index is not None
    }
    assert after["AG"] == "BG"
    assert after["CAG"] == "ABG"
    assert after["ABC"] == "ABC"
    assert after["none"] == "none"
    assert rotated_classes(SPEC, 3) == tuple(range(len(names)))


def test_labels_without_a_counterpart_are_left_out() -> None:
    instant = load_spec("instant")
    label = next(index for index, fault in enumerate(instant.classes) if fault.phases == "BC")
    body = {"spec": "instant", "sequence": 0, "start_ns": 0, "rate_hz": 1.0, "count": 1, "labels": [label]}
    value = msgspec.msgpack.encode({**body, "data": np.zeros(instant.window_shape, "<f4").tobytes()})
    assert msgspec.msgpack.decode(rotated(value, 1, instant, phase_columns(instant)))["labels"] is None


def test_order_within_a_line_is_kept_though_its_times_go_back(tmp_path: Path) -> None:
    messages = list(window_messages("l", sine(), SPEC, rate_hz=RATE_HZ, start_ns=START_NS))
    times_ms = [5000, 1000, 1000, 7000, 6000]
    with RecordingWriter(tmp_path / "r.parquet") as writer:
        for offset, (message, time_ms) in enumerate(zip(messages, times_ms, strict=False)):
            writer.write(RecordedMessage("w", 0, offset, time_ms, b"l", message.value))
            writer.write(RecordedMessage("w", 0, offset, time_ms, b"l", b"poison %d" % offset))
    records = list(FanOut(open_source(tmp_path / "r.parquet"), 2, SPEC).records())
    of_line = [record.value for record in records if record.key == b"l"]
    assert of_line == [value for at, m in enumerate(messages[:5]) for value in (m.value, b"poison %d" % at)]
    assert len([record for record in records if record.key == b"l-2"]) == 5


def test_windows_that_cannot_be_rotated_are_clear_errors() -> None:
    with pytest.raises(RecordingError, match="set FAULTLINE_SPEC"):
        rotated(msgspec.msgpack.encode({"spec": "other", "data": b"", "start_ns": 0}), 1, SPEC, phase_columns(SPEC))
    with pytest.raises(RecordingError, match="not that of spec 'line'"):
        rotated(msgspec.msgpack.encode({"spec": "line", "data": b"123", "start_ns": 0}), 1, SPEC, phase_columns(SPEC))
    two = SignalSpec.model_validate(SPEC.model_dump() | {"channels": ("ia", "ib")})
    with pytest.raises(RecordingError, match="every channel name must end in a, b or c"):
        phase_columns(two)
