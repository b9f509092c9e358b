"""Define the records of the topic ``models``: keys, headers, and the check before use. Pure: no Kafka, no clock.

The topic has one partition and is compacted, so the newest record of a key is in force:

==============================  =====================================================================
``<spec>``                      the champion; null: workers return to their default artefact
``<spec>/shadow``               the candidate that runs as shadow of the champion; null ends the shadow
``<spec>/archive/<model id>``   promoted models for a rollback, limited to the newest ones
==============================  =====================================================================

The value is the artefact. A signature covers key and value, so that a record signed as shadow or for the archive
cannot be used as champion.
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
    """Return the key of the shadow candidate for a spec."""
    return f"{spec}/{_SHADOW}"


def archive_key(spec: str, model_id: str) -> str:
    """Return the key of a promoted model in the archive."""
    return f"{spec}/{_ARCHIVE}/{model_id}"


def signed_payload(key: str, value: bytes | None) -> bytes:
    """Return the bytes that a signature covers. A tombstone is signed like an empty value."""
    return _SIGNED + key.encode() + b"\0" + (value or b"")


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """Record of the topic, not verified."""

    key: str
    value: bytes | None
    headers: Mapping[str, bytes]
    offset: int

    @property
    def spec(self) -> str:
        """Return the name of the spec, the first part of the key."""
        return self.key.partition("/")[0]

    @property
    def role(self) -> Role | None:
        """Return the role of the record; None for an unknown form of key."""
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
        """Return the model's id according to the key or a header, for display and search; it is not verified."""
        return self.key.rpartition("/")[2] if self.role == "archive" else self.header(HEADER_MODEL_ID)

    def header(self, name: str) -> str:
        """Return a header's text in one printable line; empty without the header."""
        text = self.headers.get(name, b"").decode(errors="replace")
        return "".join(character if character.isprintable() else " " for character in text)[:500]

    def signed_by(self, keys: Iterable[Ed25519PublicKey]) -> bool:
        """Return True if one of the public keys verifies the signature for this record key and value."""
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
    """Return the headers of a record to publish, signed if there is a private key."""
    headers = {HEADER_MODEL_ID: model_id, HEADER_AT: at.isoformat(), HEADER_BY: by, HEADER_REASON: reason}
    encoded = [(name, text.encode()) for name, text in headers.items() if text]
    if private_key is not None:
        encoded.append((HEADER_SIGNATURE, sign(private_key, signed_payload(key, value))))
        encoded.append((HEADER_KEY_ID, key_id(private_key.public_key()).encode()))
    return encoded


def check_signature(record: ModelRecord, keys: Sequence[Ed25519PublicKey]) -> None:
    """Raise ModelRefusedError ("unsigned" or "signature") if there are keys and none of them signed the record."""
    if not keys:
        return
    if HEADER_SIGNATURE not in record.headers:
        raise ModelRefusedError(
            "unsigned", "it is not signed and FAULTLINE_MODEL_PUBLIC_KEYS is set: promote it with the private key"
        )
    if not record.signed_by(keys):
        raise ModelRefusedError(
            "signature",
            "none of FAULTLINE_MODEL_PUBLIC_KEYS verifies its signature for this model and key: promote it again",
        )


def accepted(
    record: ModelRecord, *, keys: Sequence[Ed25519PublicKey] = (), max_bytes: int, spec: SignalSpec | None = None
) -> Artefact:
    """Return the artefact of a record after checking size, signature, hashes, shapes, spec and id, in this order.

    Args:
        record: record of the topic, not a tombstone.
        keys: public keys, one of which must have signed the record; without keys no signature is required.
        max_bytes: largest value in bytes; a larger one is not read.
        spec: spec whose digest the artefact must have; when None, only the spec's name in the key must match.

    Raises:
        ModelRefusedError: the record is refused; its reason is oversize, unsigned, signature, truncated, corrupt,
            shape, invalid, spec or id.
    """
    value = record.value or b""
    if len(value) > max_bytes:
        raise ModelRefusedError(
            "oversize",
            f"it has {len(value):,} bytes, FAULTLINE_MODEL_MAX_BYTES allows {max_bytes:,}: raise that setting",
        )
    # The signature is checked before parsing: with keys set, unsigned bytes are never parsed.
    check_signature(record, keys)
    try:
        artefact = Artefact.from_bytes(value, max_bytes=max_bytes)
    except ArtefactError as error:
        raise ModelRefusedError(error.reason, str(error)) from error
    artefact_spec = artefact.manifest.spec
    if artefact_spec.name != record.spec or (spec is not None and artefact_spec.digest != spec.digest):
        other = ", in another version" if spec is not None and artefact_spec.name == spec.name else ""
        raise ModelRefusedError(
            "spec", f"it is for spec {artefact_spec.name!r}{other}, under the key {record.key!r}: promote it again"
        )
    if record.role == "archive" and record.model_id != artefact.model_id:
        raise ModelRefusedError("id", f"its id is {artefact.model_id}, under the key {record.key!r}: promote it again")
    return artefact


def archived(records: Mapping[str, ModelRecord], spec: str) -> list[ModelRecord]:
    """Return the archived models of a spec, to which workers can be rolled back, the latest first."""
    kept = (record for record in records.values() if record.spec == spec and record.role == "archive" and record.value)
    return sorted(kept, key=lambda record: -record.offset)
