"""Decoding reads back what windowing writes, and an invalid record never harms its neighbours."""

from __future__ import annotations

import base64
import json
from typing import Any, get_args

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.spec import load_spec
from stream.contract import JSON, MAX_NS, MAX_RATE_HZ, MAX_SEQUENCE, MIN_RATE_HZ, DeadLetterReason, WindowMessage
from stream.detection.decode import JsonWindowBody, WindowBody, decode_batch
from stream.windowing import encode_windows, window_messages
from tests.stream.doubles import RATE_HZ, START_NS, marked_record, record

SPEC = load_spec("line")
INSTANT = load_spec("instant")
MAX_BYTES = 100_000
JSON_HEADERS = [("content-type", JSON.encode())]


def decode(*records: Any, spec: Any = SPEC) -> Any:
    return decode_batch(records, spec, max_bytes=MAX_BYTES)


def body(**changes: Any) -> dict[str, Any]:
    fields = {
        "spec": "line",
        "sequence": 5,
        "start_ns": START_NS,
        "rate_hz": RATE_HZ,
        "count": 1,
        "data": np.zeros((1, 32, 6), "<f4").tobytes(),
    }
    return {name: value for name, value in {**fields, **changes}.items() if value is not ...}


def msgpack(**changes: Any) -> Any:
    return record(b"feeder-1", msgspec.msgpack.encode(body(**changes)))


def as_json(**changes: Any) -> Any:
    fields = body(**{"data": np.zeros((1, 32, 6)).tolist(), **changes})
    return record(b"feeder-1", json.dumps(fields).encode(), headers=JSON_HEADERS)


def reason(invalid: Any) -> str:
    batch = decode(invalid)
    assert not batch.records
    assert len(batch.dead) == 1
    assert batch.dead[0].record is invalid
    assert batch.dead[0].message
    return str(batch.dead[0].reason)


@settings(max_examples=25)
@given(
    windows=st.integers(1, 4).flatmap(
        lambda n: arrays(np.float32, (n, 32, 6), elements=st.floats(-1e3, 1e3, width=32))
    ),
    sequence=st.integers(0, 2**40),
    form=st.sampled_from(["msgpack", "base64", "nested"]),
)
def test_windows_come_back_as_they_were_sent(windows: Any, sequence: int, form: str) -> None:
    labels = list(range(len(windows)))
    value = encode_windows(windows, SPEC, sequence=sequence, start_ns=START_NS, rate_hz=RATE_HZ, labels=labels)
    if form == "msgpack":
        sent = record(b"feeder-1", value)
    else:
        fields = msgspec.msgpack.decode(value)
        fields["data"] = (
            base64.b64encode(fields["data"]).decode() if form == "base64" else windows.astype(np.float64).tolist()
        )
        sent = record(b"feeder-1", json.dumps(fields).encode(), headers=JSON_HEADERS)
    batch = decode(sent)
    assert batch.dead == []
    np.testing.assert_array_equal(batch.windows, windows)
    (entry,) = batch.records
    assert (entry.line, entry.sequence, entry.start_ns, entry.rate_hz) == ("feeder-1", sequence, START_NS, RATE_HZ)
    assert (entry.first, entry.count, entry.labels) == (0, len(windows), labels)


def test_a_waveform_cut_and_decoded_gives_its_own_windows() -> None:
    samples = np.random.default_rng(1).normal(size=(200, 6)).astype(np.float32)
    messages = list(window_messages("l", samples, SPEC, rate_hz=1920.0, start_ns=START_NS, windows_per_message=3))
    batch = decode(*[record(b"l", message.value) for message in messages])
    assert len(batch.windows) == (200 - 32) // 8 + 1
    for index, window in enumerate(batch.windows):
        np.testing.assert_array_equal(window, samples[index * 8 : index * 8 + 32])


def test_json_without_a_header_is_recognised_by_its_first_byte() -> None:
    value = b" \n" + json.dumps(body(data=np.zeros((1, 32, 6)).tolist())).encode()
    assert len(decode(record(b"l", value, headers=[])).records) == 1


def test_a_header_without_a_value_is_as_good_as_no_header() -> None:
    # aiokafka returns None for a header whose value is null.
    good = record(b"l", msgspec.msgpack.encode(body()), headers=[("content-type", None), ("trace", None)])
    assert len(decode(good).records) == 1


def test_unknown_fields_are_a_gateways_own_affair() -> None:
    assert len(decode(msgpack(gateway="g7"), as_json(gateway="g7")).records) == 2


INVALID = [
    ("tombstone", record(b"l", None)),
    ("bad-headers", record(b"l", msgspec.msgpack.encode(body()), headers=[("caf\udce9", b"")])),
    ("empty", record(b"l", b"")),
    ("oversize", record(b"l", b"x" * (MAX_BYTES + 1))),
    ("bad-key", record(None, msgspec.msgpack.encode(body()))),
    ("bad-key", record(b"", msgspec.msgpack.encode(body()))),
    ("bad-key", record(b"\xff\xfe", msgspec.msgpack.encode(body()))),
    ("bad-key", record(b"l" * 1000, msgspec.msgpack.encode(body()))),
    ("bad-bytes", record(b"l", b"\xc1")),
    ("bad-bytes", record(b"l", msgspec.msgpack.encode(body())[:-7])),
    ("bad-bytes", record(b"l", b"{", headers=JSON_HEADERS)),
    ("bad-bytes", record(b"l", b"[" * 50_000, headers=JSON_HEADERS)),
    ("bad-bytes", record(b"l", b'{"data":' + b"[" * 50_000, headers=JSON_HEADERS)),
    ("bad-bytes", record(b"l", b"\xff\xfe{}", headers=JSON_HEADERS)),
    ("bad-bytes", msgpack(spec=...)),
    ("bad-bytes", msgpack(spec=7)),
    ("bad-bytes", msgpack(sequence=-1)),
    ("bad-bytes", msgpack(sequence=2**63)),
    ("bad-bytes", as_json(sequence=10**30)),
    ("bad-bytes", msgpack(start_ns=-1)),
    ("bad-bytes", as_json(start_ns=2**64)),
    ("bad-bytes", msgpack(count=0)),
    ("bad-bytes", as_json(count=1.5)),
    ("wrong-shape", as_json(count=10**40)),
    ("bad-bytes", as_json(data="no base64 at all!")),
    ("wrong-spec", msgpack(spec="instant")),
    ("wrong-spec", msgpack(spec="x" * 10_000)),
    ("wrong-shape", msgpack(count=2)),
    ("wrong-shape", msgpack(count=2**62)),
    ("wrong-shape", msgpack(data=b"")),
    ("wrong-shape", msgpack(data=b"abc")),
    ("bad-bytes", msgpack(rate_hz=0.0)),
    ("bad-bytes", msgpack(rate_hz=-1600.0)),
    ("bad-bytes", msgpack(rate_hz=float("nan"))),
    ("bad-bytes", msgpack(rate_hz=float("inf"))),
    ("bad-bytes", msgpack(rate_hz=1e-300)),
    ("bad-bytes", msgpack(rate_hz=1e300)),
    ("bad-bytes", msgpack(start_ns=MAX_NS)),
    ("bad-bytes", msgpack(sequence=MAX_SEQUENCE, count=2, data=bytes(2 * 768))),
    ("wrong-shape", msgpack(labels=[])),
    ("wrong-shape", msgpack(labels=[12])),
    ("wrong-shape", msgpack(labels=[-1])),
    ("wrong-shape", as_json(labels=[10**30])),
    ("wrong-shape", as_json(data=[])),
    ("wrong-shape", as_json(data=[[1.0], [1.0, 2.0]])),
    ("wrong-shape", as_json(data=np.zeros((1, 6, 32)).tolist())),
    ("wrong-shape", as_json(data=np.zeros((1, 32, 6)).astype(str).tolist())),
    ("wrong-shape", as_json(data=[[[{}] * 6] * 32])),
    ("wrong-shape", as_json(data=[[[None] * 6] * 32])),
    ("wrong-shape", as_json(data=[[[10**400] * 6] * 32])),
    ("not-finite", msgpack(data=np.full((1, 32, 6), np.nan, "<f4").tobytes())),
    ("not-finite", msgpack(data=np.full((1, 32, 6), np.inf, "<f4").tobytes())),
    ("not-finite", as_json(data=np.full((1, 32, 6), 1e39).tolist())),
]


@pytest.mark.parametrize(("expected", "invalid"), INVALID, ids=range(len(INVALID)))
def test_an_invalid_record_is_singled_out_with_its_reason(expected: str, invalid: Any) -> None:
    assert reason(invalid) == expected


def test_every_reason_of_the_contract_is_given() -> None:
    assert {reason(invalid) for _, invalid in INVALID} == set(get_args(DeadLetterReason))


def test_extremes_that_are_still_right_are_good() -> None:
    extreme = np.full((1, 32, 6), 3.4e38, "<f4").tobytes()
    slow, fast = msgpack(rate_hz=MIN_RATE_HZ), msgpack(rate_hz=MAX_RATE_HZ)
    last = msgpack(sequence=MAX_SEQUENCE, start_ns=MAX_NS - 20_000_000)
    assert decode(msgpack(data=extreme), slow, fast, last).dead == []


def test_good_records_keep_their_order_between_invalid_ones() -> None:
    records = []
    for offset in range(40):
        invalid = INVALID[offset % len(INVALID)][1] if offset % 2 else None
        records.append(
            invalid or marked_record(f"line-{offset}", [offset % 12] * (1 + offset % 3), SPEC, offset=offset)
        )
    batch = decode(*records)
    assert [entry.record.offset for entry in batch.records] == list(range(0, 40, 2))
    assert len(batch.dead) == 20
    for entry in batch.records:
        rows = batch.windows[entry.first : entry.first + entry.count]
        assert entry.count == 1 + entry.record.offset % 3
        assert (rows[:, 0, 0] == entry.record.offset % 12).all()
    assert len(batch.windows) == sum(entry.count for entry in batch.records)


def test_dead_records_are_returned_in_the_order_of_their_offsets() -> None:
    numberless = np.full((1, 32, 6), np.nan, "<f4").tobytes()
    first = record(b"l", msgspec.msgpack.encode(body(data=numberless)), offset=1)
    assert [dead.record.offset for dead in decode(first, record(b"l", b"", offset=2)).dead] == [1, 2]


KEYS = st.one_of(st.none(), st.binary(max_size=20), st.text(max_size=8).map(str.encode))
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["content-type", "Content-Type", "x"]),
        st.one_of(st.none(), st.binary(max_size=12), st.just(b"application/json"), st.just(b"application/msgpack")),
    ),
    max_size=3,
)
PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "spec": st.one_of(st.just("line"), PLAIN),
        "sequence": st.one_of(st.integers(0, 2**63 - 1), PLAIN),
        "start_ns": st.one_of(st.integers(0, 2**63 - 1), PLAIN),
        "rate_hz": st.one_of(st.floats(), PLAIN),
        "count": st.one_of(st.integers(0, 2), PLAIN),
        "data": st.one_of(st.binary(max_size=8), st.just(bytes(768)), st.just(bytes(1536)), PLAIN),
        "labels": PLAIN,
    },
).map(lambda fields: {**body(), **fields})
VALUES = st.one_of(
    st.none(),
    st.binary(max_size=64),
    BODIES.map(msgspec.msgpack.encode),
    BODIES.map(lambda fields: msgspec.json.encode(fields)),
    st.tuples(BODIES.map(msgspec.msgpack.encode), st.integers(0, 400)).map(lambda cut: cut[0][: cut[1]]),
)


@settings(max_examples=150)
@given(st.lists(st.tuples(KEYS, VALUES, HEADERS), max_size=6))
def test_nothing_that_can_be_received_raises_and_every_record_is_good_or_invalid(parts: Any) -> None:
    records = [record(key, value, headers=headers, offset=i) for i, (key, value, headers) in enumerate(parts)]
    batch = decode(*records)
    good = {entry.record.offset for entry in batch.records}
    invalid = [dead.record.offset for dead in batch.dead]
    assert good.isdisjoint(invalid)
    assert sorted([*good, *invalid]) == list(range(len(records)))
    assert np.isfinite(batch.windows).all()
    assert batch.windows.shape == (sum(entry.count for entry in batch.records), 32, 6)


@pytest.mark.parametrize("struct", [WindowBody, JsonWindowBody])
def test_the_fast_structs_have_the_fields_and_bounds_of_the_contract(struct: Any) -> None:
    ours = {field.name: field for field in msgspec.structs.fields(struct)}
    contract = WindowMessage.model_fields
    assert list(ours) == list(contract)
    for name, field in contract.items():
        assert (ours[name].default is msgspec.NODEFAULT) == field.is_required()
    schema = WindowMessage.model_json_schema()["properties"]
    _, components = msgspec.json.schema_components([struct])
    fast = components[struct.__name__]["properties"]
    for name in ("sequence", "start_ns", "rate_hz", "count"):
        for bound in ("type", "minimum", "maximum"):
            assert fast[name].get(bound) == schema[name].get(bound), (name, bound)


@settings(max_examples=100)
@given(BODIES)
def test_the_contract_takes_whatever_decoding_takes(fields: dict[str, Any]) -> None:
    if decode(record(b"l", msgspec.msgpack.encode(fields))).records:
        WindowMessage.model_validate(fields)


def test_an_instant_is_a_window_of_one_sample() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(2, 1, 6)
    value = encode_windows(rows, INSTANT, sequence=0, start_ns=0, rate_hz=20_000.0)
    np.testing.assert_array_equal(decode(record(b"l", value), spec=INSTANT).windows, rows)
