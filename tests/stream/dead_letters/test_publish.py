"""Dead letters: as received, with their cause, and never too large to be written."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.contract import DeadLetterHeaders, Outgoing
from stream.dead_letters.publish import dead_letter
from stream.detection.decode import DeadRecord
from stream.settings import Settings
from stream.worker.transport import faust_settings
from tests.stream.doubles import record

TOPIC = "sensor-windows.dlq"
PRODUCER_LIMIT = faust_settings(Settings(_env_file=None))["producer_max_request_size"]
"""Size limit of a dead letter; the broker would refuse a larger record for ever."""


def letter(key: bytes | None, value: bytes | None, reason: Any = "bad-bytes", message: str = "why", **kw: Any) -> Any:
    return dead_letter(DeadRecord(record(key, value, **kw), reason, message), TOPIC)


def causes(out: Outgoing) -> dict[str, str]:
    prefix = "faultline.error."
    return {name.removeprefix(prefix): value.decode() for name, value in out.headers if name.startswith(prefix)}


def test_key_value_and_headers_are_as_received_and_the_cause_is_in_headers() -> None:
    out = letter(b"l", b"\xc1", offset=7, partition=2, headers=[("trace", b"1"), ("trace", None)], timestamp=99)
    assert (out.topic, out.key, out.value) == (TOPIC, b"l", b"\xc1")
    assert out.headers[:2] == [("trace", b"1"), ("trace", None)]
    assert causes(out) == {
        "topic": "sensor-windows",
        "partition": "2",
        "offset": "7",
        "stage": "decode",
        "reason": "bad-bytes",
        "message": "why",
        "by.reference": "false",
        "timestamp.ms": "99",
    }


def test_every_cause_of_the_contract_is_a_header() -> None:
    names = {name.replace("_", ".") for name in DeadLetterHeaders.model_fields}
    assert set(causes(letter(b"l", b""))) == names


def test_an_oversize_record_goes_by_reference() -> None:
    out = letter(b"l", b"x" * 2_000_000, "oversize", headers=[("trace", b"1")])
    assert (out.key, out.value) == (b"l", None)
    assert causes(out)["by.reference"] == "true"
    assert all(name.startswith("faultline.") for name, _ in out.headers)


def test_a_header_name_that_is_not_utf_8_is_escaped() -> None:
    out = letter(b"l", b"v", "bad-headers", headers=[("caf\udce9", b"1"), ("café", None)])
    assert (out.key, out.value, out.headers[:2]) == (b"l", b"v", [("caf\\xe9", b"1"), ("café", None)])


def test_a_tombstone_stays_one() -> None:
    out = letter(b"l", None, "tombstone")
    assert out.value is None
    assert causes(out)["by.reference"] == "false"


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (b"l", b"x" * 1_000_000, []),
        (b"l", b"x" * 1_046_000, []),
        (b"k" * 2_000_000, b"x", []),
        (b"k" * 500_000, b"x" * 500_000, []),
        (b"l", b"x", [("h", b"x" * 1_046_990)]),
        (b"l", b"x", [("h" * 1_046_000, None)]),
        (b"l", b"x" * 500_000, [("", None)] * 300_000),
        (b"l", b"x", [("é" * 600_000, b"")]),
    ],
    ids=range(8),
)
def test_no_dead_letter_is_too_large_for_the_producer(key: bytes, value: bytes, headers: Any) -> None:
    out = letter(key, value, message="é" * 10_000, headers=headers)
    size = DefaultRecordBatchBuilder.estimate_size_in_bytes(out.key, out.value, out.headers)
    assert size <= PRODUCER_LIMIT


@settings(max_examples=60)
@given(
    key=st.one_of(st.none(), st.binary(max_size=9)),
    value=st.one_of(st.none(), st.binary(max_size=30)),
    headers=st.lists(st.tuples(st.text(max_size=5), st.one_of(st.none(), st.binary(max_size=5))), max_size=4),
    message=st.text(max_size=1000),
    timestamp=st.integers(-1, 2**63 - 1),
)
def test_any_record_can_be_a_dead_letter(key: Any, value: Any, headers: Any, message: str, timestamp: int) -> None:
    out = letter(key, value, message=message, headers=headers, timestamp=timestamp)
    assert (out.value, out.headers[: len(headers)]) == (value, headers)
    assert out.key == (b"" if key is None and value is None else key), "a producer takes no record with neither"
