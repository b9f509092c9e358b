"""Publishing models and reading them again, on Apache Kafka and on the embedded broker."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer

from model.artefact import Artefact
from model.artefact.signing import new_keys
from model.normalisation import Normalisation
from stream.errors import BrokerUnreachableError, SettingsError, TopicError
from stream.kafka.embedded import EmbeddedBroker
from stream.registry.records import HEADER_AT, accepted, archive_key, archived, champion_key, shadow_key
from stream.registry.topic import ModelsReader, public_keys, publish_model, read_models
from stream.settings import Settings
from tests.conftest import Kafka
from tests.stream.model_samples import AT, MAX_BYTES, SPEC, small_artefact

OWN, ONE, TWO = (small_artefact(number) for number in range(3))
CHAMPION, SHADOW = champion_key("line"), shadow_key("line")

_numbers = itertools.count()


@pytest.fixture
def settings(kafka: Kafka) -> Settings:
    topic = f"models-{os.getpid()}-{next(_numbers)}"
    kafka.create_topic(topic, 1, {"cleanup.policy": "compact"})
    return Settings(_env_file=None, broker=kafka.bootstrap, topic_models=topic)


@pytest.fixture
async def reader(settings: Settings) -> AsyncIterator[ModelsReader]:
    made = ModelsReader(settings)
    yield made
    await made.close()


def with_keys(settings: Settings, private: Path | None, *public: Path) -> Settings:
    files = ",".join(map(str, public)) or None
    return settings.model_copy(update={"model_private_key": private, "model_public_keys": files})


async def publish(settings: Settings, artefact: Artefact | None, **options: Any) -> None:
    await publish_model(settings, artefact, **{"spec": "line", "at": AT, "by": "tester", **options})


async def test_a_champion_is_read_again_as_it_was_published_and_is_in_the_archive(settings: Settings) -> None:
    await publish(settings, ONE, reason="better on feeder 12")
    records = await read_models(settings)
    assert set(records) == {CHAMPION, archive_key("line", ONE.model_id)}
    champion = records[CHAMPION]
    assert champion.value == ONE.to_bytes()
    said = (champion.model_id, champion.header("faultline.promoted.by"), champion.header("faultline.reason"))
    assert said == (ONE.model_id, "tester", "better on feeder 12")
    assert champion.header(HEADER_AT) == "2026-11-22T12:00:00+00:00"


async def test_the_next_champion_takes_the_place_and_the_former_stays_in_the_archive(settings: Settings) -> None:
    for artefact in (ONE, TWO, ONE):
        await publish(settings, artefact)
    records = await read_models(settings)
    assert records[CHAMPION].value == ONE.to_bytes()
    assert [record.model_id for record in archived(records, "line")] == [ONE.model_id, TWO.model_id]


async def test_the_archive_keeps_the_newest_and_takes_off_the_oldest(settings: Settings) -> None:
    settings = settings.model_copy(update={"model_archive": 2})
    for number in range(4):
        await publish(settings, small_artefact(number))
    records = await read_models(settings)
    kept = [record.model_id for record in archived(records, "line")]
    assert kept == [small_artefact(3).model_id, small_artefact(2).model_id]


async def test_a_shadow_is_no_champion_and_ends_when_it_becomes_one(settings: Settings) -> None:
    await publish(settings, ONE)
    await publish(settings, TWO, role="shadow")
    records = await read_models(settings)
    assert (records[CHAMPION].value, records[SHADOW].value) == (ONE.to_bytes(), TWO.to_bytes())
    assert archive_key("line", TWO.model_id) not in records
    await publish(settings, TWO)
    records = await read_models(settings)
    assert records[CHAMPION].value == TWO.to_bytes()
    assert SHADOW not in records


async def test_a_shadow_is_ended_and_a_champion_taken_back(settings: Settings) -> None:
    await publish(settings, ONE)
    await publish(settings, TWO, role="shadow")
    await publish(settings, None, role="shadow")
    assert set(await read_models(settings)) == {CHAMPION, archive_key("line", ONE.model_id)}
    await publish(settings, None)
    assert set(await read_models(settings)) == {archive_key("line", ONE.model_id)}


async def test_every_record_is_signed_for_its_own_place(settings: Settings, tmp_path: Path) -> None:
    private, public = new_keys(tmp_path)
    signing = with_keys(settings, private, public).model_copy(update={"model_archive": 1})
    for artefact in (ONE, TWO):
        await publish(signing, artefact)
    await publish(signing, OWN, role="shadow")
    keys = public_keys(signing)
    records = await read_models(settings)
    assert len(records) == 3
    for record in records.values():
        accepted(record, keys=keys, max_bytes=MAX_BYTES, spec=SPEC)
    await publish(signing, None)
    reader = ModelsReader(settings)
    newest = await reader.read_to_end()
    await reader.close()
    for key in (CHAMPION, archive_key("line", ONE.model_id)):
        assert newest[key].value is None
        assert newest[key].signed_by(keys), "a tombstone is signed as well"


async def test_nothing_is_published_that_workers_of_the_same_settings_would_refuse(
    settings: Settings, tmp_path: Path
) -> None:
    private, public = new_keys(tmp_path / "ours")
    _, other = new_keys(tmp_path / "other")
    for unfit, what in (
        (with_keys(settings, None, public), "PRIVATE_KEY"),
        (with_keys(settings, private, other), "is not among"),
    ):
        with pytest.raises(SettingsError, match=what):
            await publish(unfit, ONE)
    await publish(with_keys(settings, private, other, public), ONE)
    await publish(with_keys(settings, private), TWO)


async def test_a_follower_receives_what_comes_after_its_end(settings: Settings, reader: ModelsReader) -> None:
    assert await reader.read_to_end() == {}
    await publish(settings, ONE)
    newest = await reader.read_to_end()
    assert newest[CHAMPION].value == ONE.to_bytes()
    waiting = asyncio.ensure_future(reader.next())
    await publish(settings, None)
    records = await asyncio.wait_for(waiting, 20)
    assert [(record.key, record.value) for record in records] == [(CHAMPION, None)]


async def test_after_a_break_reading_goes_on_where_it_ended(settings: Settings, reader: ModelsReader) -> None:
    await publish(settings, ONE)
    await reader.read_to_end()
    await reader.close()
    await publish(settings, TWO)
    found: dict[str, bytes | None] = {}
    while CHAMPION not in found:
        found |= {record.key: record.value for record in await asyncio.wait_for(reader.next(), 20)}
    assert found == {archive_key("line", TWO.model_id): TWO.to_bytes(), CHAMPION: TWO.to_bytes()}


async def test_records_that_faultline_did_not_write_are_skipped(settings: Settings, reader: ModelsReader) -> None:
    producer = Producer({"bootstrap.servers": settings.broker})
    for key, value, headers in (
        (None, b"no key", []),
        (b"\xff\xfe", b"no text", []),
        (b"line", b"x", [("faultline.model.id", b"\xff"), ("faultline.model.id", None)]),
    ):
        producer.produce(settings.topic_models, value, key, headers=headers)
    producer.flush(20)
    await publish(settings, ONE)
    assert (await reader.read_to_end())[CHAMPION].value == ONE.to_bytes()


async def test_a_missing_topic_is_named_with_what_makes_it(kafka: Kafka) -> None:
    nowhere = Settings(_env_file=None, broker=kafka.bootstrap, topic_models="models-that-are-not-there")
    for act in (read_models(nowhere), publish(nowhere, ONE)):
        with pytest.raises(TopicError, match="missing topics models-that-are-not-there: faultline topics create"):
            await act


async def test_a_record_that_the_topic_does_not_take_is_reported_with_the_setting(kafka: Kafka) -> None:
    topic = f"models-small-{os.getpid()}"
    kafka.create_topic(topic, 1, {"cleanup.policy": "compact", "max.message.bytes": "3000"})
    settings = Settings(_env_file=None, broker=kafka.bootstrap, topic_models=topic)
    weights = {"weight": np.random.default_rng(0).standard_normal(5000).astype(np.float32)}
    large = Artefact.create(weights, spec=SPEC, architecture="gru", normalisation=Normalisation.identity(6))
    with pytest.raises(TopicError, match=r"max\.message\.bytes="):
        await publish(settings, large)


async def test_the_embedded_broker_carries_models_too(embedded_broker: EmbeddedBroker) -> None:
    settings = Settings(_env_file=None, broker=embedded_broker.bootstrap)
    await publish(settings, ONE)
    await publish(settings, TWO)
    records = await read_models(settings)
    assert records[CHAMPION].value == TWO.to_bytes()
    assert len(archived(records, "line")) == 2


async def test_without_a_broker_the_message_says_what_to_do() -> None:
    settings = Settings(_env_file=None, broker="127.0.0.1:1", request_timeout_s=15)
    with pytest.raises(BrokerUnreachableError, match="start one"):
        await read_models(settings)
