"""Read the topic ``models`` to its end, follow it, and publish on it (only by ``publish_model``)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from model.artefact import Artefact
from model.artefact.signing import Ed25519PrivateKey, Ed25519PublicKey, key_id, private_key, public_key
from stream.errors import SettingsError, TopicError
from stream.kafka.clients import producer_kwargs
from stream.kafka.errors import broker_errors
from stream.kafka.reading.reader import Fetched, PartitionReader, StartAt
from stream.kafka.topics import require_topics
from stream.registry.records import ModelRecord, archive_key, archived, champion_key, new_headers, shadow_key
from stream.settings import Settings

log = structlog.get_logger(__name__)

RETRY_S = 1.0
"""Pause before a failed read is retried; the model in use stays meanwhile."""
FOLLOW_WAIT_MS = 500
"""Longest wait of a fetch while following the topic. A new record ends the wait at once."""


class ModelsReader:
    """Reader of the topic from its beginning, without a group.

    Args:
        settings: broker and name of the topic.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._partition = TopicPartition(settings.topic_models, 0)
        self._reader = PartitionReader(settings, poll_ms=FOLLOW_WAIT_MS, fetch_max_wait_ms=FOLLOW_WAIT_MS)

    async def read_to_end(self) -> dict[str, ModelRecord]:
        """Return the newest record of every key up to the topic's current end, including tombstones.

        Raises:
            BrokerError: there is no broker, or no right to read.
        """
        newest: dict[str, ModelRecord] = {}
        with broker_errors(self._settings):
            await self._start()
            async for fetched in self._reader.read_to_end():
                newest |= {record.key: record for record in _model_records(fetched)}
        return newest

    async def next(self) -> list[ModelRecord]:
        """Wait for new records and return them in order; failures are retried."""
        while True:
            try:
                await self._start()
                records = _model_records(await self._reader.fetch())
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("models-not-read", error=repr(error), then="retried; the model in use stays")
                await self.close()
                await asyncio.sleep(RETRY_S)
                continue
            if records:
                return records

    async def close(self) -> None:
        """Stop reading; the next read resumes at the same position."""
        await self._reader.close()

    async def _start(self) -> None:
        await self._reader.start()
        if not self._reader.positions:
            self._reader.assign(await self._reader.offsets([self._partition], StartAt("earliest")))


def _model_records(fetched: Fetched) -> list[ModelRecord]:
    return [
        ModelRecord(
            # A key that cannot be decoded has no role.
            (record.key or b"").decode(errors="replace"),
            record.value,
            {name: value or b"" for name, value in record.headers},
            record.offset,
        )
        for records in fetched.values()
        for record in records
    ]


async def read_models(settings: Settings) -> dict[str, ModelRecord]:
    """Return the newest record of every key unless it is a tombstone; nothing is verified.

    Raises:
        TopicError: the topic is missing.
        BrokerError: there is no broker, the login was refused, or there is no right to read.
    """
    await require_topics(settings, [settings.topic_models])
    reader = ModelsReader(settings)
    try:
        newest = await reader.read_to_end()
    finally:
        await reader.close()
    return {key: record for key, record in newest.items() if record.value is not None}


def public_keys(settings: Settings) -> tuple[Ed25519PublicKey, ...]:
    """Return the public keys whose models are accepted; none if every model is accepted. Raises SigningError."""
    return tuple(public_key(file) for file in settings.model_public_key_files)


def signing_key(settings: Settings) -> Ed25519PrivateKey | None:
    """Return the private key for signing; None if there is none and none is needed.

    Raises:
        SettingsError: workers with these settings would refuse the published model.
        SigningError: a key cannot be read.
    """
    trusted = public_keys(settings)
    if settings.model_private_key is None:
        if trusted:
            raise SettingsError(
                "FAULTLINE_MODEL_PUBLIC_KEYS is set, so workers accept only signed models: set "
                "FAULTLINE_MODEL_PRIVATE_KEY to the file of the private key"
            )
        return None
    key = private_key(settings.model_private_key)
    if trusted and key_id(key.public_key()) not in {key_id(one) for one in trusted}:
        raise SettingsError(
            f"the public key of FAULTLINE_MODEL_PRIVATE_KEY ({key_id(key.public_key())}) is not among "
            "FAULTLINE_MODEL_PUBLIC_KEYS, so workers would refuse the model: set keys that match"
        )
    return key


async def publish_model(
    settings: Settings,
    artefact: Artefact | None,
    *,
    spec: str,
    role: Literal["champion", "shadow"] = "champion",
    at: datetime,
    by: str,
    reason: str = "",
) -> None:
    """Publish a model for all workers of a spec; return after the broker's confirmation.

    A champion is first written to the archive, then put into use. Archived models beyond ``settings.model_archive`` are
    removed, the oldest first. A shadow that becomes champion is no longer a shadow.

    Args:
        settings: broker, topic and keys.
        artefact: verified artefact. None withdraws the champion, so that workers use their default artefact, or ends
            the shadow.
        spec: name of the spec.
        role: role of the model.
        at: current time, with its time zone.
        by: name of the person or program, e.g. a user's name or "trainer".
        reason: reason for people.

    Raises:
        SettingsError: workers would refuse the model, see ``signing_key``.
        TopicError: the topic is missing, or does not accept a record of this size.
        BrokerError: there is no broker, the login was refused, or there is no right to write.
    """
    key = signing_key(settings)
    present = await read_models(settings)
    values: dict[str, bytes | None] = {}
    value = None if artefact is None else artefact.to_bytes()
    if role == "shadow":
        values[shadow_key(spec)] = value
    else:
        if artefact is not None:
            values[archive_key(spec, artefact.model_id)] = value
        values[champion_key(spec)] = value
        values |= dict.fromkeys(_superseded(settings, present, spec, artefact))
    model_id = "" if artefact is None else artefact.model_id
    records = [
        (name, content, new_headers(name, content, model_id=model_id, at=at, by=by, reason=reason, private_key=key))
        for name, content in values.items()
    ]
    await _send(settings, records)


def _superseded(
    settings: Settings, present: Mapping[str, ModelRecord], spec: str, artefact: Artefact | None
) -> Iterable[str]:
    """Yield the keys to delete: the oldest archived models beyond the limit, and a shadow that becomes champion."""
    if artefact is None:
        return
    others = [record.key for record in archived(present, spec) if record.model_id != artefact.model_id]
    yield from others[settings.model_archive - 1 :]
    shadow = present.get(shadow_key(spec))
    if shadow is not None and shadow.model_id == artefact.model_id:
        yield shadow.key


async def _send(settings: Settings, records: Iterable[tuple[str, bytes | None, list[tuple[str, bytes]]]]) -> None:
    options = producer_kwargs(settings)
    # Set above the topic's own limit, so that the broker's answer decides.
    options["max_request_size"] = max(options["max_request_size"], 2 * settings.model_max_bytes)
    with broker_errors(settings):
        producer = AIOKafkaProducer(**options)
        try:
            await producer.start()
            # One partition and an idempotent producer keep the records in order.
            for key, value, headers in records:
                await producer.send_and_wait(settings.topic_models, value, key.encode(), 0, headers=headers)
        except MessageSizeTooLargeError:
            change = f"kafka-configs --bootstrap-server {settings.broker} --alter --topic {settings.topic_models}"
            raise TopicError(
                f"the topic {settings.topic_models} does not accept a record of this size: {change} "
                f"--add-config max.message.bytes={2 * settings.model_max_bytes}"
            ) from None
        finally:
            await producer.stop()
