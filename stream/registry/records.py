"""The records of the topic ``models``: keys, headers, and the check of what may be used. Pure: no Kafka, no clock.

One partition, compacted, so that the newest record of a key is what holds:

==============================  =====================================================================
``<spec>``                      the champion; null: workers go back to the artefact they came with
``<spec>/shadow``               the candidate that runs beside it; null ends that
``<spec>/archive/<model id>``   every model that was promoted, the newest so many, to go back to
==============================  =====================================================================

The value is the artefact. Signatures cover key and value, so that what was signed as a shadow, or long ago for the
archive, is no champion elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from model.artefact import Artefact
from model.artefact.signing import Ed25519PrivateKey, Ed25519PublicKey, key_id, sign, verify
from model.errors import ArtefactError
from model.spec import SignalSpec
from stream.contract import HEADER_PREFIX
from stream.errors import ModelRefusedError

Role = Literal["champion", "shadow", "archive"]

HEADER_MODEL_ID = f"{HEADER_PREFIX}model.id"
HEADER_AT = f"{HEADER_PREFIX}promoted.at"
HEADER_BY = f"{HEADER_PREFIX}promoted.by"
HEADER_REASON = f"{HEADER_PREFIX}reason"
HEADER_SIGNATURE = f"{HEADER_PREFIX}signature"
HEADER_KEY_ID = f"{HEADER_PREFIX}key.id"

_SIGNED = b"faultline-model-v1\0"
_ARCHIVE = "archive"
_SHADOW = "shadow"


def champion_key(spec: str) -> str:
    """Return the key of the model in use for a spec."""
    return spec


def shadow_key(spec: str) -> str:
    """Return the key of the candidate beside it."""
    return f"{spec}/{_SHADOW}"


def archive_key(spec: str, model_id: str) -> str:
    """Return the key of a model that was promoted."""
    return f"{spec}/{_ARCHIVE}/{model_id}"


def signed_payload(key: str, value: bytes | None) -> bytes:
    """Return what a signature covers. A tombstone is signed like an empty value."""
    return _SIGNED + key.encode() + b"\0" + (value or b"")


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """One record of the topic; nothing in it is verified."""

    key: str
    value: bytes | None
    headers: Mapping[str, bytes]
    offset: int

    @property
    def spec(self) -> str:
        """Return the name of the spec, first part of the key."""
        return self.key.partition("/")[0]

    @property
    def role(self) -> Role | None:
        """Return the record's role; None for a key that is not ours."""
        match self.key.split("/"):
            case [spec] if spec:
                return "champion"
            case [spec, "shadow"] if spec:
                return "shadow"
            case [spec, "archive", model_id] if spec and model_id:
                return "archive"
            case _:
                return None

    @property
    def model_id(self) -> str:
        """Return the model's id as the key or a header claims it; for people and for looking up."""
        return self.key.rpartition("/")[2] if self.role == "archive" else self.header(HEADER_MODEL_ID)

    def header(self, name: str) -> str:
        """Return a header's text in one printable line, or nothing."""
        text = self.headers.get(name, b"").decode(errors="replace")
        return "".join(character if character.isprintable() else " " for character in text)[:500]

    def signed_by(self, keys: Iterable[Ed25519PublicKey]) -> bool:
        """Return True if one of the keys signed it, under this key of the topic."""
        signature = self.headers.get(HEADER_SIGNATURE, b"")
        return verify(keys, signed_payload(self.key, self.value), signature)


def new_headers(
    key: str,
    value: bytes | None,
    *,
    model_id: str,
    at: datetime,
    by: str,
    reason: str,
    private_key: Ed25519PrivateKey | None,
) -> list[tuple[str, bytes]]:
    """Return the headers of a record to publish, signed where there is a key."""
    headers = {HEADER_MODEL_ID: model_id, HEADER_AT: at.isoformat(), HEADER_BY: by, HEADER_REASON: reason}
    encoded = [(name, text.encode()) for name, text in headers.items() if text]
    if private_key is not None:
        encoded.append((HEADER_SIGNATURE, sign(private_key, signed_payload(key, value))))
        encoded.append((HEADER_KEY_ID, key_id(private_key.public_key()).encode()))
    return encoded


def check_signature(record: ModelRecord, keys: Sequence[Ed25519PublicKey]) -> None:
    """Raise ModelRefusedError ("unsigned" or "signature") unless there are no keys, or one of them signed it."""
    if not keys:
        return
    if HEADER_SIGNATURE not in record.headers:
        raise ModelRefusedError(
            "unsigned", "it is not signed and FAULTLINE_MODEL_PUBLIC_KEYS is set: promote it with the private key"
        )
    if not record.signed_by(keys):
        raise ModelRefusedError(
            "signature",
            "its signature is by none of FAULTLINE_MODEL_PUBLIC_KEYS, or of another model or place: promote it again",
        )


def accepted(
    record: ModelRecord, *, keys: Sequence[Ed25519PublicKey] = (), max_bytes: int, spec: SignalSpec | None = None
) -> Artefact:
    """Return the artefact of a record, verified: size, signature, hashes, shapes, spec and id, in this order.

    Args:
        record: of the topic, not a tombstone.
        keys: a signature by one of them is needed, where there are any.
        max_bytes: longer values are not looked at.
        spec: what the artefact must be for, to the digest; only the name in the key counts when not given.

    Raises:
        ModelRefusedError: whose reason is oversize, unsigned, signature, truncated, corrupt, shape, invalid, spec
            or id.
    """
    value = record.value or b""
    if len(value) > max_bytes:
        raise ModelRefusedError(
            "oversize", f"it is {len(value):,} bytes, FAULTLINE_MODEL_MAX_BYTES allows {max_bytes:,}"
        )
    # Before anything of it is parsed: with keys set, nothing unsigned is.
    check_signature(record, keys)
    try:
        artefact = Artefact.from_bytes(value, max_bytes=max_bytes)
    except ArtefactError as error:
        raise ModelRefusedError(error.reason, str(error)) from error
    theirs = artefact.manifest.spec
    if theirs.name != record.spec or (spec is not None and theirs.digest != spec.digest):
        other = ", in another version" if spec is not None and theirs.name == spec.name else ""
        raise ModelRefusedError("spec", f"it is for spec {theirs.name!r}{other}, under the key {record.key!r}")
    if record.role == "archive" and record.model_id != artefact.model_id:
        raise ModelRefusedError("id", f"it is {artefact.model_id}, under the key {record.key!r}")
    return artefact


def archived(records: Mapping[str, ModelRecord], spec: str) -> list[ModelRecord]:
    """Return the models of a spec that were promoted and can be gone back to, the latest first."""
    kept = (record for record in records.values() if record.spec == spec and record.role == "archive" and record.value)
    return sorted(kept, key=lambda record: -record.offset)
