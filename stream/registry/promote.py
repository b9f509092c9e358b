"""Promote models, roll back to earlier ones, and find them on the topic ``models``."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from model.artefact import Artefact, build_model
from model.spec import SignalSpec, load_spec, shipped_specs
from stream.errors import ModelRefusedError, ModelsError
from stream.registry.records import (
    HEADER_AT,
    HEADER_BY,
    HEADER_KEY_ID,
    HEADER_REASON,
    HEADER_SIGNATURE,
    ModelRecord,
    Role,
    accepted,
    archived,
    champion_key,
    shadow_key,
)
from stream.registry.topic import public_keys, publish_model, read_models
from stream.settings import Settings

OWN = "own"
"""Word that stands for the workers' default artefact in place of a model's id."""
SEE_LIST = "run faultline models list, which shows all models"


@dataclass(frozen=True)
class Listed:
    """Model on the topic, as workers with the same settings evaluate it."""

    role: Role
    model_id: str
    spec: str
    architecture: str | None
    bytes: int
    promoted_at: str
    promoted_by: str
    reason: str
    signature: str
    """Id of the signing key according to the record, or "none"."""
    refused: str | None
    """Reason why a worker would refuse the model; None if a worker would accept it."""


async def listed(settings: Settings) -> list[Listed]:
    """Return champion, shadow and archive of every spec on the topic, in this order; the archive is latest first."""
    records = await read_models(settings)
    rows = []
    for spec in sorted({record.spec for record in records.values() if record.role is not None}):
        leading = (records.get(champion_key(spec)), records.get(shadow_key(spec)))
        rows += [_listed(record, settings) for record in (*leading, *archived(records, spec)) if record is not None]
    return rows


def _listed(record: ModelRecord, settings: Settings) -> Listed:
    role = record.role
    assert role is not None
    try:
        artefact, refused = _accepted(record, settings), None
    except ModelRefusedError as error:
        artefact, refused = None, f"{error.reason}: {error}"
    signed = record.header(HEADER_KEY_ID) or "unknown key" if HEADER_SIGNATURE in record.headers else "none"
    return Listed(
        role=role,
        model_id=record.model_id if artefact is None else artefact.model_id,
        spec=record.spec,
        architecture=None if artefact is None else artefact.manifest.architecture,
        bytes=len(record.value or b""),
        promoted_at=record.header(HEADER_AT),
        promoted_by=record.header(HEADER_BY),
        reason=record.header(HEADER_REASON),
        signature=signed,
        refused=refused,
    )


def _accepted(record: ModelRecord, settings: Settings) -> Artefact:
    spec = load_spec(settings.spec)
    return accepted(
        record,
        keys=public_keys(settings),
        max_bytes=settings.model_max_bytes,
        spec=spec if spec.name == record.spec else None,
    )


async def find(settings: Settings, name: str) -> Artefact:
    """Return a model by its id, its role ("champion", "shadow"), or the path of its file.

    Raises:
        ModelsError: there is no such model, or a worker would refuse it.
        ArtefactError: the file is not an artefact.
    """
    if name.endswith(".safetensors") or "/" in name:
        return Artefact.load(name, max_bytes=settings.model_max_bytes)
    return _found(await read_models(settings), settings, name)


def _found(records: Mapping[str, ModelRecord], settings: Settings, name: str) -> Artefact:
    spec = load_spec(settings.spec).name
    if name in ("champion", "shadow"):
        chosen = [records[key] for key in (spec if name == "champion" else shadow_key(spec),) if key in records]
    else:
        chosen = [record for record in records.values() if record.role is not None and record.model_id == name]
    if not chosen:
        of_spec = f" of spec {spec}" if name in ("champion", "shadow") else ""
        raise ModelsError(f"no model {name!r}{of_spec} on the topic {settings.topic_models}: {SEE_LIST}")
    # A model may be champion and archived, and only one of the two records may be damaged.
    refusals = []
    for record in chosen:
        try:
            return _accepted(record, settings)
        except ModelRefusedError as error:
            refusals.append(str(error))
    raise ModelsError(f"the model {name!r} on the topic cannot be used: {refusals[0]}")


def verified_file(settings: Settings, file: Path) -> Artefact:
    """Return the artefact of a file that workers with these settings would accept, after a trial build of its network.

    Raises:
        ArtefactError: the artefact is damaged, too large, or its shapes do not fit its architecture.
        ModelsError: the artefact is for a spec that is not known here.
    """
    artefact = Artefact.load(file, max_bytes=settings.model_max_bytes)
    artefact_spec = artefact.manifest.spec
    local_spec = _spec_named(settings, artefact_spec.name)
    if local_spec.digest != artefact_spec.digest:
        raise ModelsError(
            f"{file} is for another version of spec {artefact_spec.name!r} than the local one, so workers would refuse "
            "it: train it again, or set FAULTLINE_SPEC to the workers' spec"
        )
    build_model(artefact)
    return artefact


def _spec_named(settings: Settings, name: str) -> SignalSpec:
    own = load_spec(settings.spec)
    if own.name == name:
        return own
    if name not in shipped_specs():
        raise ModelsError(f"the artefact is for spec {name!r}: set FAULTLINE_SPEC to the file of that spec")
    return load_spec(name)


async def promote(settings: Settings, artefact: Artefact, *, by: str | None, reason: str) -> str | None:
    """Make an artefact the champion of its spec; return the id of the previous champion, None if there was none."""
    spec = artefact.manifest.spec.name
    former = (await read_models(settings)).get(champion_key(spec))
    await publish_model(settings, artefact, spec=spec, at=datetime.now(UTC), by=by or user(), reason=reason)
    return None if former is None else former.model_id


@dataclass(frozen=True)
class Rollback:
    """Result of a rollback: previous and current model; None is the workers' default artefact."""

    spec: str
    former: str | None
    present: str | None


async def rollback(settings: Settings, *, to: str | None, by: str | None, reason: str) -> Rollback:
    """Put an earlier champion into use again.

    Args:
        settings: broker, spec and keys.
        to: id of an archived model, or ``OWN``. None stands for the champion before the current one, or for ``OWN`` if
            there was none.
        by: name of the person or program; the user's name when None.
        reason: reason for people.

    Raises:
        ModelsError: there is no earlier model, or it cannot be used.
    """
    spec = load_spec(settings.spec).name
    records = await read_models(settings)
    champion = records.get(champion_key(spec))
    former = None if champion is None else champion.model_id
    if to is None:
        before = [record.model_id for record in archived(records, spec) if record.model_id != former]
        if not before and champion is None:
            raise ModelsError(
                f"no model of spec {spec!r} was promoted, so workers use their default artefact: there is nothing to "
                "roll back"
            )
        to = before[0] if before else OWN
    artefact = None if to == OWN else _found(records, settings, to)
    if artefact is not None and artefact.manifest.spec.name != spec:
        raise ModelsError(f"{to} is for spec {artefact.manifest.spec.name!r}: set FAULTLINE_SPEC to that spec")
    await publish_model(settings, artefact, spec=spec, at=datetime.now(UTC), by=by or user(), reason=reason)
    return Rollback(spec, former, None if artefact is None else artefact.model_id)


async def set_shadow(settings: Settings, artefact: Artefact | None, *, by: str | None, reason: str) -> None:
    """Run an artefact as shadow of the champion of its spec; None ends the shadow."""
    spec = load_spec(settings.spec).name if artefact is None else artefact.manifest.spec.name
    await publish_model(
        settings, artefact, spec=spec, role="shadow", at=datetime.now(UTC), by=by or user(), reason=reason
    )


def user() -> str:
    """Return the name of the current user, or "unknown", since containers often have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
