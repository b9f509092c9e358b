"""Dead letters read back: cause, record as received, filters, counts."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from stream.contract import DeadLetterReason
from stream.dead_letters.letters import (
    HEADER_REDRIVEN,
    Letter,
    LetterFilter,
    count_reasons,
    dump,
    parse_place,
    read_letter,
    redriven_headers,
    time_text,
)
from stream.dead_letters.publish import dead_letter
from stream.detection.decode import DeadRecord
from stream.errors import ContractError

Headers = list[tuple[str, bytes | None]]


@dataclass
class Record:
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def received(value: bytes | None = b"{", key: bytes | None = b"feeder-7", headers: Headers | None = None) -> Record:
    return Record(
        "sensor-windows", 5, 77, 1_700_000_000_000, key, value, headers or [("gateway", b"g1"), ("odd", None)]
    )


def letter_of(record: Record, reason: DeadLetterReason = "bad-bytes", offset: int = 3, at_ms: int = 0) -> Letter:
    sent = dead_letter(DeadRecord(record, reason, "no MessagePack"), "sensor-windows.dlq")
    return read_letter(Record(sent.topic, 1, offset, at_ms, sent.key, sent.value, list(sent.headers)))


def test_a_letter_that_was_written_is_read_back_with_its_cause_and_the_record_as_received() -> None:
    letter = letter_of(received())
    assert (letter.cause.topic, letter.cause.partition, letter.cause.offset) == ("sensor-windows", 5, 77)
    assert (letter.cause.reason, letter.cause.message) == ("bad-bytes", "no MessagePack")
    assert not letter.cause.by_reference
    assert (letter.key, letter.value, letter.place) == (b"feeder-7", b"{", "1:3")
    assert letter.headers == (("gateway", b"g1"), ("odd", None))


def test_headers_of_the_record_that_look_like_ours_are_kept_and_not_believed() -> None:
    letter = letter_of(received(headers=[("faultline.error.reason", b"empty")]))
    assert letter.cause.reason == "bad-bytes"
    assert letter.headers == (("faultline.error.reason", b"empty"),)


def test_a_letter_of_an_oversize_record_says_that_its_value_stands_elsewhere() -> None:
    letter = letter_of(received(value=b"x" * 2_000_000), "oversize")
    assert letter.cause.by_reference
    assert letter.value is None


def test_a_record_that_tells_no_cause_is_no_letter() -> None:
    with pytest.raises(ContractError, match=r"1:3 is not a dead letter of Faultline: faultline\.error\.topic"):
        read_letter(Record("sensor-windows.dlq", 1, 3, 0, b"k", b"v", [("x", b"y")]))


def test_what_is_sent_again_says_where_its_letter_stands_and_is_known_when_it_dies_again() -> None:
    first = letter_of(received())
    headers = redriven_headers(first)
    assert headers == [("gateway", b"g1"), ("odd", None), (HEADER_REDRIVEN, b"sensor-windows.dlq/1/3")]
    second = letter_of(received(headers=headers), offset=9)
    assert second.again
    assert not first.again
    assert redriven_headers(second)[-1] == (HEADER_REDRIVEN, b"sensor-windows.dlq/1/9")
    assert len(redriven_headers(second)) == len(headers)


def test_a_filter_takes_reason_line_and_time_together() -> None:
    letter = letter_of(received(), at_ms=1000)
    assert LetterFilter().wants(letter)
    assert LetterFilter(frozenset({"bad-bytes"}), frozenset({"feeder-7"}), 1001).wants(letter)
    assert not LetterFilter(frozenset({"empty"})).wants(letter)
    assert not LetterFilter(lines=frozenset({"feeder-8"})).wants(letter)
    assert not LetterFilter(before_ms=1000).wants(letter)


def test_reasons_are_counted_with_the_newest_letter_as_example_and_the_sources_that_sent_most() -> None:
    letters = [letter_of(received(key=f"line-{i % 5}".encode()), offset=i, at_ms=i) for i in range(12)]
    letters.append(letter_of(received(key=None), "empty", offset=40, at_ms=40))
    common, rare = count_reasons(letters)
    assert (common.reason, common.letters, common.example) == ("bad-bytes", 12, "1:11")
    assert (common.first_ms, common.last_ms) == (0, 11)
    assert common.most() == [("line-0", 3), ("line-1", 3), ("line-2", 2)]
    assert common.as_dict()["distinct_sources"] == 5
    assert (rare.reason, rare.letters, rare.sources) == ("empty", 1, {"(no key)": 1})


def test_a_key_that_is_no_text_cannot_disturb_a_terminal() -> None:
    assert letter_of(received(key=b"\xff\x1b[2J")).source == "\\xff\N{REPLACEMENT CHARACTER}[2J"


def test_a_place_is_partition_and_offset() -> None:
    assert parse_place("0:12") == (0, 12)
    for wrong in ("12", "a:1", "1:", "-1:2", "1:2:3"):
        with pytest.raises(ContractError, match="PARTITION:OFFSET"):
            parse_place(wrong)


def test_bytes_are_shown_in_rows_of_sixteen_up_to_a_limit() -> None:
    assert dump(b"ab\x00" + b"c" * 14).splitlines() == [
        "000000  61 62 00 63 63 63 63 63 63 63 63 63 63 63 63 63  ab.ccccccccccccc",
        "000010  63                                               c",
    ]
    assert len(dump(bytes(1000), 64).splitlines()) == 4
    assert time_text(1_700_000_000_000) == "2023-11-14T22:13:20.000Z"
