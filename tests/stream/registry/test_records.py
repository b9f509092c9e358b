"""Records of the topic models: their purpose, and which of them may be used."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.artefact import Artefact
from model.artefact.signing import Ed25519PrivateKey
from model.spec import load_spec
from stream.errors import ModelRefusedError
from stream.registry.records import (
    HEADER_BY,
    HEADER_SIGNATURE,
    ModelRecord,
    accepted,
    archive_key,
    archived,
    champion_key,
    shadow_key,
)
from tests.stream.model_samples import MAX_BYTES, SPEC, model_record, small_artefact

KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
ONE = small_artefact(1)


def refusal(record: ModelRecord, *keys: Ed25519PrivateKey, max_bytes: int = MAX_BYTES) -> str:
    public = [key.public_key() for key in keys]
    with pytest.raises(ModelRefusedError) as caught:
        accepted(record, keys=public, max_bytes=max_bytes, spec=SPEC)
    assert len(str(caught.value).splitlines()) == 1
    return caught.value.reason


@pytest.mark.parametrize(
    ("key", "role"),
    [
        (champion_key("line"), "champion"),
        (shadow_key("line"), "shadow"),
        (archive_key("line", "line-1"), "archive"),
        ("", None),
        ("/shadow", None),
        ("line/other", None),
        ("line/archive/", None),
        ("line/archive/a/b", None),
    ],
)
def test_a_key_says_what_its_record_is_for(key: str, role: str | None) -> None:
    assert ModelRecord(key, b"", {}, 0).role == role


def test_a_record_as_it_was_published_is_accepted_in_every_role() -> None:
    for key in (champion_key("line"), shadow_key("line"), archive_key("line", ONE.model_id)):
        record = model_record(key, ONE, private_key=KEY)
        for keys in ((), (KEY.public_key(),), (OTHER.public_key(), KEY.public_key())):
            assert accepted(record, keys=keys, max_bytes=MAX_BYTES, spec=SPEC).model_id == ONE.model_id
        assert record.spec == "line"


def test_a_truncated_artefact_is_refused_as_truncated_or_corrupt_wherever_it_ends() -> None:
    data = ONE.to_bytes()
    reasons = {refusal(model_record("line", data[:length])) for length in range(len(data))}
    assert reasons <= {"truncated", "corrupt"}
    assert refusal(model_record("line", data[:-1])) == "truncated"


@given(st.integers(0, len(ONE.to_bytes()) * 8 - 1))
def test_no_artefact_with_one_flipped_bit_is_accepted(bit: int) -> None:
    data = bytearray(ONE.to_bytes())
    data[bit // 8] ^= 1 << bit % 8
    assert refusal(model_record("line", bytes(data))) in {"corrupt", "truncated", "invalid", "shape"}


def test_an_oversize_artefact_is_refused_before_anything_of_it_is_looked_at() -> None:
    assert refusal(model_record("line", b"\xff" * 2000), max_bytes=1999) == "oversize"


def test_an_artefact_for_another_spec_is_refused() -> None:
    instant = small_artefact(spec=load_spec("instant"))
    assert refusal(model_record("line", instant)) == "spec"
    other_version = small_artefact(spec=SPEC.model_copy(update={"hop": SPEC.hop // 2}))
    assert refusal(model_record("line", other_version)) == "spec"


def test_a_model_under_another_models_archive_key_is_refused() -> None:
    assert refusal(model_record(archive_key("line", "line-000000000000"), ONE)) == "id"


def test_with_a_public_key_an_unsigned_model_is_refused() -> None:
    assert refusal(model_record("line", ONE), KEY) == "unsigned"


def test_a_signature_by_another_key_or_for_another_place_is_refused() -> None:
    assert refusal(model_record("line", ONE, private_key=OTHER), KEY) == "signature"
    for elsewhere in (shadow_key("line"), archive_key("line", ONE.model_id), "instant"):
        replayed = model_record("line", ONE, private_key=KEY, signed_for=elsewhere)
        assert refusal(replayed, KEY) == "signature", elsewhere


def test_a_signature_does_not_outlive_a_change_of_the_model() -> None:
    signed = model_record("line", ONE, private_key=KEY)
    assert refusal(ModelRecord("line", small_artefact(2).to_bytes(), signed.headers, 0), KEY) == "signature"
    assert refusal(ModelRecord("line", ONE.to_bytes(), {HEADER_SIGNATURE: b"\xff\x00"}, 0), KEY) == "signature"


def test_the_archive_is_of_one_spec_and_the_latest_comes_first() -> None:
    models = [small_artefact(number) for number in range(3)]
    records = {
        record.key: record
        for record in (
            model_record("line", models[0]),
            model_record(shadow_key("line"), models[1]),
            *(
                model_record(archive_key("line", one.model_id), one, offset=offset)
                for one, offset in zip(models, (4, 9, 7), strict=True)
            ),
            model_record(archive_key("instant", "instant-1"), b"", offset=11),
            model_record(archive_key("line", "gone"), None, offset=12),
        )
    }
    assert [record.offset for record in archived(records, "line")] == [9, 7, 4]


def test_what_a_header_says_is_one_printable_line() -> None:
    record = ModelRecord("line", None, {HEADER_BY: b"eve\n2026 [error] \x1b[31m\xff" + b"x" * 9999}, 0)
    text = record.header(HEADER_BY)
    assert text.isprintable()
    assert len(text) == 500


def test_the_sample_is_an_artefact_like_others() -> None:
    again = Artefact.from_bytes(ONE.to_bytes())
    assert again.model_id == ONE.model_id
    np.testing.assert_array_equal(again.weights["weight"], ONE.weights["weight"])
