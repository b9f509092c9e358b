"""The topics on a real broker: created once, checked always, and denied rights reported in one line."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.admin import AclOperation, AdminClient, ConfigResource
from typer.testing import CliRunner

from benchmarks.kafka.properties import Security
from benchmarks.kafka.server import KafkaServer
from faultline.cli.streaming.topics import app
from stream.errors import AccessDeniedError, TopicError
from stream.kafka.embedded import PARTITIONS, EmbeddedBroker
from stream.kafka.topics import TopicFinding, check_topics, create_topics, require_topics, topic_settings, topic_specs
from stream.settings import Settings
from tests.kafka_acls import grant

PASSWORD = "correct-horse"
NAMES = (
    "topic_windows",
    "topic_faults_prefix",
    "topic_window_classes",
    "topic_dead_letters",
    "topic_line_states",
    "topic_labels",
    "topic_retrain",
    "topic_reports",
    "topic_models",
)

_runs = itertools.count()


@pytest.fixture
def settings(kafka: Any) -> Settings:
    """Return settings whose topics no other test uses on the shared broker."""
    prefix = f"t{os.getpid()}-{next(_runs)}-"
    names = {name: f"{prefix}{name.removeprefix('topic_').replace('_', '-')}" for name in NAMES}
    return Settings(_env_file=None, broker=kafka.bootstrap, partitions=3, **names)


def problems(findings: list[TopicFinding]) -> dict[str, tuple[str, str]]:
    return {finding.name: (finding.level, finding.message) for finding in findings if finding.level != "ok"}


async def test_topics_are_created_once_and_pass_the_check(settings: Settings) -> None:
    first = await create_topics(settings)
    assert {result.outcome for result in first} == {"created"}
    assert [result.name for result in first] == [plan.name for plan in topic_specs(settings)]
    again = await create_topics(settings)
    assert {result.outcome for result in again} == {"exists"}
    assert problems(await check_topics(settings)) == {}
    await require_topics(settings)


async def test_the_broker_has_the_settings_of_the_catalogue(settings: Settings) -> None:
    await create_topics(settings)
    admin = AdminClient({"bootstrap.servers": settings.broker})
    for plan in topic_specs(settings):
        resource = ConfigResource(ConfigResource.Type.TOPIC, plan.name)
        there = admin.describe_configs([resource])[resource].result(20)
        wanted = topic_settings(plan, settings)
        assert {name: there[name].value for name in wanted} == wanted
        assert len(admin.list_topics(plan.name, timeout=20).topics[plan.name].partitions) == plan.partitions


async def test_a_missing_topic_fails_the_check_and_is_not_made_by_it(settings: Settings) -> None:
    for _ in range(2):
        found = problems(await check_topics(settings))
        assert found[settings.topic_windows] == ("fail", "missing: faultline topics create")
        assert settings.topic_window_classes not in found
    with pytest.raises(TopicError, match=rf"missing topics {settings.topic_windows}, .*topics create"):
        await require_topics(settings)


async def test_the_advice_names_the_spec_whose_topics_are_missing(settings: Settings) -> None:
    own = settings.model_copy(update={"spec": "instant"})
    assert problems(await check_topics(own))[own.topic_windows][1] == "missing: faultline topics create --spec instant"
    with pytest.raises(TopicError, match=r": faultline topics create --spec instant$"):
        await require_topics(own)


async def test_states_with_other_partitions_than_windows_fail(settings: Settings, kafka: Any) -> None:
    kafka.create_topic(settings.topic_line_states, 2, {"cleanup.policy": "compact"})
    await create_topics(settings)
    level, message = problems(await check_topics(settings))[settings.topic_line_states]
    assert level == "fail"
    assert f"2 partitions but {settings.topic_windows} has 3" in message
    with pytest.raises(TopicError, match="2 partitions but"):
        await require_topics(settings)


async def test_models_without_compaction_fail(settings: Settings, kafka: Any) -> None:
    kafka.create_topic(settings.topic_models, 1, {"cleanup.policy": "delete"})
    level, message = problems(await check_topics(settings))[settings.topic_models]
    assert level == "fail"
    assert message.endswith("cleanup.policy=compact")


async def test_compacted_windows_fail(settings: Settings, kafka: Any) -> None:
    kafka.create_topic(settings.topic_windows, 3, {"cleanup.policy": "compact"})
    level, message = problems(await check_topics(settings))[settings.topic_windows]
    assert level == "fail"
    assert "drops earlier records of a line" in message


async def test_a_small_message_size_is_a_warning(settings: Settings, kafka: Any) -> None:
    kafka.create_topic(settings.topic_windows, 3, {"max.message.bytes": "5000"})
    level, message = problems(await check_topics(settings))[settings.topic_windows]
    assert level == "warn"
    assert "max.message.bytes is 5000" in message


async def test_the_windows_of_a_partition_are_bounded_as_the_setting_says(settings: Settings) -> None:
    bounded = settings.model_copy(update={"windows_retention_mb": 64})
    await create_topics(bounded, [settings.topic_windows])
    admin = AdminClient({"bootstrap.servers": settings.broker})
    resource = ConfigResource(ConfigResource.Type.TOPIC, settings.topic_windows)
    there = admin.describe_configs([resource])[resource].result(20)
    # Whole segments are deleted: eight of them make the limit.
    assert (there["retention.bytes"].value, there["segment.bytes"].value) == (str(64 << 20), str(8 << 20))
    assert settings.topic_windows not in problems(await check_topics(bounded))


async def test_a_topic_that_was_created_without_the_bound_is_a_warning_with_the_command(settings: Settings) -> None:
    await create_topics(settings, [settings.topic_windows])
    assert settings.topic_windows not in problems(await check_topics(settings))
    bounded = settings.model_copy(update={"windows_retention_mb": 64})
    level, message = problems(await check_topics(bounded))[settings.topic_windows]
    assert level == "warn"
    assert "without a limit, above FAULTLINE_WINDOWS_RETENTION_MB=64" in message
    assert message.endswith("--add-config retention.bytes=67108864,segment.bytes=8388608")


def test_windows_have_no_limit_of_size_unless_it_is_set_and_no_other_topic_ever_has() -> None:
    for plan in topic_specs(Settings(_env_file=None, windows_retention_mb=100_000)):
        given = topic_settings(plan, Settings(_env_file=None))
        assert ("retention.bytes" in given) == (plan.name == "sensor-windows")
        if plan.name == "sensor-windows":
            assert given["segment.bytes"] == str(1 << 30), "no larger than Kafka's own"
    for plan in topic_specs(Settings(_env_file=None)):
        given = topic_settings(plan, Settings(_env_file=None))
        assert not {"retention.bytes", "segment.bytes"} & given.keys(), "the broker's own limits apply"


async def test_too_many_copies_fail_with_the_brokers_reason(settings: Settings) -> None:
    results = await create_topics(settings.model_copy(update={"replication_factor": 3}))
    assert {result.outcome for result in results} == {"failed"}
    assert "replication factor" in results[0].detail.lower()


async def test_on_the_embedded_broker_topics_appear_and_pass(embedded_broker: EmbeddedBroker) -> None:
    settings = Settings(_env_file=None, broker=embedded_broker.bootstrap)
    await require_topics(settings)
    results = await create_topics(settings)
    assert {result.name: result.outcome for result in results}[settings.topic_windows] == "exists"
    findings = await check_topics(settings)
    assert {finding.level for finding in findings} == {"ok"}
    assert f"partitions: {PARTITIONS}" in findings[0].message


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """Start Apache Kafka with a user alice, who may log in and, without an ACL, do nothing else."""
    security = Security(users={"alice": PASSWORD}, authorizer=True)
    with KafkaServer(tmp_path_factory.mktemp("locked"), security=security) as server:
        yield server


@pytest.fixture
def alice(locked: KafkaServer) -> Settings:
    return Settings(
        _env_file=None,
        broker=locked.sasl_bootstrap,
        security_protocol="SASL_PLAINTEXT",
        sasl_username="alice",
        sasl_password=PASSWORD,
    )


@pytest.mark.kafka
def test_a_denied_create_names_the_acls_to_grant_and_ends_with_an_error(
    alice: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAULTLINE_BROKER", alice.broker)
    monkeypatch.setenv("FAULTLINE_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
    monkeypatch.setenv("FAULTLINE_SASL_USERNAME", "alice")
    monkeypatch.setenv("FAULTLINE_SASL_PASSWORD", PASSWORD)
    done = CliRunner().invoke(app, ["create"])
    assert isinstance(done.exception, AccessDeniedError)
    message = str(done.exception)
    assert "\n" not in message
    assert "grant User:alice Create, Describe, DescribeConfigs: kafka-acls" in message
    assert "--operation Create" in message
    assert "--topic sensor-windows " in message
    assert "denied   sensor-windows" in done.output
    assert PASSWORD not in message + done.output


@pytest.mark.kafka
async def test_with_the_named_acls_create_works_for_that_topic_alone(alice: Settings, locked: KafkaServer) -> None:
    settings = alice.model_copy(update={"topic_labels": "granted-labels"})
    grant(locked.bootstrap, "alice", "granted-labels", (AclOperation.CREATE, AclOperation.DESCRIBE))
    outcomes = {result.name: result.outcome for result in await create_topics(settings)}
    assert outcomes.pop("granted-labels") == "created"
    assert set(outcomes.values()) == {"denied"}
    found = problems(await check_topics(settings))
    level, message = found["granted-labels"]
    assert level == "warn"
    assert "grant User:alice DescribeConfigs" in message
    grant(locked.bootstrap, "alice", "granted-labels", (AclOperation.DESCRIBE_CONFIGS,))
    assert "granted-labels" not in problems(await check_topics(settings))


@pytest.mark.kafka
async def test_topics_that_may_not_be_seen_are_distinguished_from_missing_ones(alice: Settings) -> None:
    level, message = problems(await check_topics(alice))["sensor-windows"]
    assert level == "fail"
    assert message.startswith("not visible: grant User:alice Describe:")


def test_the_check_command_prints_a_line_per_topic_and_fails(settings: Settings, kafka: Any) -> None:
    environment = {f"FAULTLINE_{name.upper()}": str(getattr(settings, name)) for name in NAMES}
    runner = CliRunner(env=environment)
    failed = runner.invoke(app, ["check", "--broker", kafka.bootstrap])
    assert isinstance(failed.exception, TopicError)
    assert failed.output.count("\n") == len(topic_specs(settings))
    created = runner.invoke(app, ["create", "--broker", kafka.bootstrap, "--partitions", "2"])
    assert created.exit_code == 0
    passed = runner.invoke(app, ["check", "--broker", kafka.bootstrap])
    assert passed.exit_code == 0
    assert f"ok   {settings.topic_windows}: partitions: 2" in passed.output


def test_every_settings_topic_is_in_the_catalogue() -> None:
    settings = Settings(_env_file=None)
    names = {plan.name for plan in topic_specs(settings)}
    wanted = {getattr(settings, name) for name in NAMES if name != "topic_faults_prefix"}
    assert wanted <= names
    assert {"faults.lg", "faults.ll", "faults.llg", "faults.lll", "faults.lllg"} <= names
    assert "faults.unknown" not in names
