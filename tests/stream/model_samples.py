"""Artefacts that are quick to make, and records of the topic ``models`` that hold them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from model.artefact import Artefact
from model.artefact.signing import Ed25519PrivateKey
from model.normalisation import Normalisation
from model.spec import SignalSpec, load_spec
from stream.registry.records import ModelRecord, new_headers

SPEC = load_spec("line")
AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MAX_BYTES = 1_000_000


def small_artefact(number: int = 0, spec: SignalSpec = SPEC) -> Artefact:
    """Return an artefact that verifies, of a network that cannot be built; another ``number`` gives another one."""
    return Artefact.create(
        {"weight": np.full(3, number, np.float32)},
        spec=spec,
        architecture="gru",
        normalisation=Normalisation.identity(len(spec.channels)),
        provenance={"number": number},
    )


def model_record(
    key: str,
    value: Artefact | bytes | None,
    *,
    private_key: Ed25519PrivateKey | None = None,
    signed_for: str | None = None,
    offset: int = 0,
) -> ModelRecord:
    """Return a record as ``publish_model`` makes it; ``signed_for`` signs it for another key than the record's own."""
    data = value.to_bytes() if isinstance(value, Artefact) else value
    headers = new_headers(
        signed_for or key,
        data,
        model_id=value.model_id if isinstance(value, Artefact) else "",
        at=AT,
        by="tester",
        reason="test",
        private_key=private_key,
    )
    return ModelRecord(key, data, dict(headers), offset)
