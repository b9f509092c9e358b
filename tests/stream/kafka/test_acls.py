"""Least rights per role: the table, and its effect on a broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import TopicAuthorizationFailedError
from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, AdminClient
from confluent_kafka.admin import ResourcePatternType as Pattern
from confluent_kafka.admin import ResourceType as Kind

from benchmarks.kafka.properties import Security
from model.spec import load_spec
from stream.errors import AccessDeniedError
from stream.kafka.acls import ROLES, Grant, _role_bindings, apply_grants, grants, kafka_acls, needed_rights
from stream.kafka.clients import producer_kwargs
from stream.kafka.topics import create_topics
from stream.settings import Settings, load_settings
from tests.conftest import Kafka


def settings(**changed: object) -> Settings:
    return load_settings(broker="localhost:1", **changed)


def who(operation: str, topic: str) -> set[str]:
    return {grant.role for grant in grants(settings()) if grant.name == topic and operation in grant.operations}


def test_only_the_trainer_writes_models_and_only_the_worker_writes_fault_events() -> None:
    assert who("Write", "models") == {"trainer"}
    for kind in load_spec("line").fault_types:
        assert who("Write", f"faults.{kind}") == {"worker"}
    assert who("Write", "sensor-windows") == {"gateway"}
    assert who("Write", "line-states") == {"worker"}


def test_a_gateway_reads_nothing_and_a_subscriber_writes_nothing() -> None:
    for grant in grants(settings()):
        if grant.role == "gateway":
            assert "Read" not in grant.operations
        if grant.role == "subscriber":
            assert "Write" not in grant.operations


def test_a_worker_is_granted_all_that_the_doctor_asks_for() -> None:
    changed = settings(window_classes=True)
    granted = {grant.name: set(grant.operations) for grant in grants(changed) if grant.role == "worker"}
    needed = needed_rights(changed)
    assert {"sensor-windows", "faults.lg", "sensor-windows.dlq", "line-states", "models", "window-classes"} <= set(
        needed
    )
    assert "window-classes" not in needed_rights(settings())
    assert needed["line-states"] == (AclOperation.READ, AclOperation.WRITE)
    for topic, operations in needed.items():
        assert operations, topic
        assert {one.name.capitalize() for one in operations} <= granted[topic], topic
    assert granted[changed.group] == {"Read", "Describe"}


def test_names_of_topics_and_groups_come_from_the_settings() -> None:
    found = grants(settings(topic_models="m2", topic_faults_prefix="f-", group="g2", trainer_group="t2"))
    names = {grant.name for grant in found}
    assert {"m2", "f-lg", "g2", "t2"} <= names
    assert not {"models", "faults.lg"} & names
    assert {grant.role for grant in found} == set(ROLES)


def test_a_grant_is_shown_as_a_command_of_kafkas_tool() -> None:
    assert kafka_acls(Grant("trainer", "Group", "t", ("Read", "Describe"), prefixed=True), "kafka:9093") == (
        "kafka-acls.sh --bootstrap-server kafka:9093 --add --allow-principal User:trainer --operation Read "
        "--operation Describe --group t --resource-pattern-type prefixed"
    )


USERS = {"worker": "w-secret", "trainer": "t-secret"}


async def write(server: Any, user: str, topic: str) -> None:
    own = load_settings(
        broker=server.sasl_bootstrap,
        security_protocol="SASL_PLAINTEXT",
        sasl_username=user,
        sasl_password=USERS[user],
    )
    async with AIOKafkaProducer(**producer_kwargs(own)) as producer:
        await producer.send_and_wait(topic, b"{}", b"key")


def test_a_broker_with_the_table_applied_refuses_models_to_the_worker_and_events_to_the_trainer(
    kafka_server: Callable[..., Kafka],
) -> None:
    server = kafka_server(security=Security(users=USERS, authorizer=True)).server
    admin = load_settings(broker=server.bootstrap)
    asyncio.run(create_topics(admin))
    wanted = grants(admin)
    rights = sum(len(grant.operations) for grant in wanted)
    assert apply_grants(admin, wanted) == (rights, 0)
    assert apply_grants(admin, wanted) == (0, 0)
    too_much = AclBinding(
        Kind.TOPIC, "models", Pattern.LITERAL, "User:worker", "*", AclOperation.WRITE, AclPermissionType.ALLOW
    )
    client = AdminClient({"bootstrap.servers": server.bootstrap})
    client.create_acls([too_much])[too_much].result(20)
    while too_much not in _role_bindings(client):
        time.sleep(0.05)
    assert apply_grants(admin, wanted) == (0, 1)

    asyncio.run(write(server, "worker", "faults.lg"))
    asyncio.run(write(server, "trainer", "models"))
    for user, topic in (("worker", "models"), ("trainer", "faults.lg"), ("worker", "sensor-windows")):
        with pytest.raises(TopicAuthorizationFailedError):
            asyncio.run(write(server, user, topic))


def test_a_broker_without_authorizer_is_reported_in_one_line(kafka: Kafka) -> None:
    own = load_settings(broker=kafka.bootstrap)
    with pytest.raises(AccessDeniedError, match=r"authorizer\.class\.name"):
        apply_grants(own, grants(own))
