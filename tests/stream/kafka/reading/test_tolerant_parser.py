"""Parsing of fetched records: as aiokafka does, and beyond header names that are not UTF-8."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record import default_records
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy
from hypothesis import given
from hypothesis import strategies as st

from stream.kafka.reading import tolerant_parser
from stream.kafka.reading.tolerant_parser import TolerantRecords

GZIP = 1


class NotUtf8(str):
    """A name that encodes to bytes that are not UTF-8."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"caf\xe9"


EVIL = (NotUtf8("x"), b"1")
Headers = list[tuple[str, bytes | None]]


def batch_of(headers: list[Headers], base_offset: int = 0, compression: int = 0) -> bytes:
    """Return a batch as a broker sends it, with one record for each list of headers."""
    builder = default_records._DefaultRecordBatchBuilderPy(2, compression, False, -1, -1, -1, 1_000_000)
    for index, names in enumerate(headers):
        builder.append(index, 1000 + index, b"k%d" % index, b"v%d" % index, names)
    return base_offset.to_bytes(8, "big") + bytes(builder.build())[8:]


def parsed(records: Any) -> list[tuple[Any, ...]]:
    found = []
    while records.has_next():
        batch = records.next_batch()
        assert batch.validate_crc()
        for record in batch:
            place = record.offset, record.timestamp, record.key, record.value
            found.append((*place, list(record.headers), batch.next_offset))
    return found


@given(
    st.lists(
        st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=3), min_size=1, max_size=5
    ),
    st.sampled_from([0, GZIP]),
)
def test_what_aiokafka_can_parse_is_parsed_as_it_does(headers: list[Headers], compression: int) -> None:
    data = batch_of(headers, 5, compression) + batch_of(headers, 500, compression) + b"cut off"
    assert parsed(TolerantRecords(data)) == parsed(MemoryRecords(data))


@pytest.mark.parametrize("parser", [MemoryRecords, _MemoryRecordsPy])
@pytest.mark.parametrize("compression", [0, GZIP])
def test_a_name_that_is_not_utf_8_costs_neither_its_record_nor_its_neighbours(
    monkeypatch: pytest.MonkeyPatch, parser: Any, compression: int
) -> None:
    monkeypatch.setattr(tolerant_parser, "MemoryRecords", parser)
    good: Headers = [("café", b"2")]
    batches = [[good, [EVIL], good, [*good, EVIL], []], [[EVIL]], [good]]
    found = parsed(TolerantRecords(b"".join(batch_of(names, 10 * i, compression) for i, names in enumerate(batches))))
    kept = ("caf\udce9", b"1")
    assert [row[0] for row in found] == [0, 1, 2, 3, 4, 10, 20]
    assert [row[4] for row in found] == [good, [kept], good, [*good, kept], [], [kept], good]
    assert [row[2:4] for row in found[:5]] == [(b"k%d" % i, b"v%d" % i) for i in range(5)]


def test_a_batch_that_is_broken_otherwise_is_refused_as_before() -> None:
    data = bytearray(batch_of([[]]))
    data[-1] = 8  # more headers than there are bytes
    with pytest.raises(CorruptRecordException):
        list(TolerantRecords(bytes(data)).next_batch())


def test_consumers_parse_by_it_once_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetcher, "MemoryRecords", MemoryRecords)
    tolerant_parser.patch_aiokafka_parser()
    assert fetcher.MemoryRecords is TolerantRecords
