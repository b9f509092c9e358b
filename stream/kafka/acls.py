"""Control access: define every role's rights in one table, set them as ACLs, and check for missing rights.

A role is a principal of the broker (``User:worker``), not a person. Any right that is not in the table is denied: a
worker cannot write models, the trainer cannot write fault events, a gateway cannot read any topic.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from stream.errors import AccessDeniedError, BrokerUnreachableError
from stream.kafka.errors import principal, who_needs
from stream.settings import Settings

Operation = Literal["Read", "Write", "Describe", "DescribeConfigs"]
Resource = Literal["Topic", "Group"]
APPLY_TIMEOUT_S = 20.0
"""Timeout of one request that changes ACLs, and of the wait until the brokers have applied them all."""
APPLY_POLL_S = 0.1
CHECK_TIMEOUT_S = 10.0
"""Timeout of one read-only request; the same as that of a login in ``check_reachable``."""
ROLES: Mapping[str, str] = {
    "gateway": "sends windows",
    "worker": "classifies windows, publishes fault events",
    "trainer": "stores windows and labels, retrains, promotes",
    "subscriber": "reads fault events and classes of windows",
    "operator": "labels windows, requests retrainings, reads dead letters, models and reports",
}
"""Purpose of every role."""


@dataclass(frozen=True, order=True)
class Grant:
    """Right of one role to some operations on one topic or group."""

    role: str
    resource: Resource
    name: str
    operations: tuple[Operation, ...]
    prefixed: bool = False
    """True if the grant covers all names that begin with ``name``."""


def grants(settings: Settings) -> tuple[Grant, ...]:
    """Return the grants of every role, with the topic and group names of the settings."""
    faults = settings.fault_topics
    windows, models = settings.topic_windows, settings.topic_models
    reads: dict[str, tuple[str, ...]] = {
        "gateway": (),
        "worker": (windows, settings.topic_line_states, models),
        "trainer": (windows, *faults, settings.topic_labels, settings.topic_retrain, models),
        "subscriber": (*faults, settings.topic_window_classes),
        "operator": (*faults, settings.topic_dead_letters, settings.topic_reports, models),
    }
    writes: dict[str, tuple[str, ...]] = {
        "gateway": (windows,),
        "worker": (
            *faults,
            settings.topic_dead_letters,
            settings.topic_line_states,
            settings.topic_window_classes,
        ),
        # The trainer itself publishes the requests of the schedule and of drift.
        "trainer": (models, settings.topic_reports, settings.topic_retrain),
        "subscriber": (),
        "operator": (settings.topic_labels, settings.topic_retrain),
    }
    # Workers and trainers check the configuration of their topics when they start.
    checks = {"worker", "trainer"}
    found = []
    for role in ROLES:
        for topic in dict.fromkeys((*reads[role], *writes[role])):
            operations: tuple[Operation, ...] = (
                *(("Read",) if topic in reads[role] else ()),
                *(("Write",) if topic in writes[role] else ()),
                "Describe",
                *(("DescribeConfigs",) if role in checks else ()),
            )
            found.append(Grant(role, "Topic", topic, operations))
    group: tuple[Operation, ...] = ("Read", "Describe")
    found.append(Grant("worker", "Group", settings.group, group))
    # The trainer's second group has a suffix.
    found.append(Grant("trainer", "Group", settings.trainer_group, group, prefixed=True))
    found.append(Grant("subscriber", "Group", "subscriber-", group, prefixed=True))
    return tuple(found)


def kafka_acls(grant: Grant, broker: str) -> str:
    """Return the command of Kafka's own tool that adds a grant."""
    words = ["kafka-acls.sh", *_add_acls(broker, grant.role, grant.operations, grant.resource, [grant.name])]
    if grant.prefixed:
        words += ["--resource-pattern-type", "prefixed"]
    return shlex.join(words)


def grant_advice(settings: Settings, topics: Iterable[str], *operations: str) -> str:
    """Return advice to grant this client operations on topics, with the command for an administrator."""
    words = _add_acls(settings.broker, principal(settings) or "<principal>", operations, "Topic", topics)
    return f"{who_needs(settings)} {', '.join(operations)}: kafka-acls {' '.join(words)}"


def _add_acls(broker: str, user: str, operations: Iterable[str], resource: Resource, names: Iterable[str]) -> list[str]:
    words = ["--bootstrap-server", broker, "--add", "--allow-principal", f"User:{user}"]
    for operation in operations:
        words += ["--operation", operation]
    for name in names:
        words += [f"--{resource.lower()}", name]
    return words


# Apply --------------------------------------------------------------------------------------------------------------

OPERATIONS: Mapping[str, AclOperation] = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}


def bindings(grants: Iterable[Grant]) -> list[AclBinding]:
    """Return one binding for each operation, from any host."""
    return [
        AclBinding(
            ResourceType.TOPIC if grant.resource == "Topic" else ResourceType.GROUP,
            grant.name,
            ResourcePatternType.PREFIXED if grant.prefixed else ResourcePatternType.LITERAL,
            f"User:{grant.role}",
            "*",
            OPERATIONS[operation],
            AclPermissionType.ALLOW,
        )
        for grant in grants
        for operation in grant.operations
    ]


def apply_grants(settings: Settings, grants: Iterable[Grant]) -> tuple[int, int]:
    """Set the roles' rights to ``grants``: add missing rights, remove others, and ignore other principals.

    Returns:
        The number of rights added and the number removed.

    Raises:
        AccessDeniedError: this client may not change rights, or the broker has no authorizer.
        BrokerUnreachableError: the broker does not answer.
    """
    admin = AdminClient(librdkafka_configuration(settings))
    wanted = bindings(grants)
    try:
        there = _role_bindings(admin)
        new = [one for one in wanted if one not in there]
        for future in admin.create_acls(new, request_timeout=APPLY_TIMEOUT_S).values() if new else ():
            future.result(APPLY_TIMEOUT_S)
        old = [one for one in there if one not in wanted]
        for future in admin.delete_acls([_filter_of(one) for one in old]).values() if old else ():
            future.result(APPLY_TIMEOUT_S)
        _wait_until_in_force(admin, wanted)
    except KafkaException as error:
        reason = error.args[0]
        if reason.name() in ("_TRANSPORT", "_TIMED_OUT", "_ALL_BROKERS_DOWN", "_AUTHENTICATION"):
            raise BrokerUnreachableError(
                f"{settings.broker} does not answer the request for its ACLs ({reason.str()}): "
                "run faultline doctor, which checks the connection"
            ) from None
        raise AccessDeniedError(
            f"rights cannot be changed ({reason.str()}): set authorizer.class.name on the broker, and grant this "
            "client Alter on the cluster or add it to super.users"
        ) from None
    return len(new), len(old)


def _role_bindings(admin: AdminClient) -> list[AclBinding]:
    """Return all rights that the broker has stored for the roles."""
    found: list[AclBinding] = []
    for role in ROLES:
        wanted = AclBindingFilter(
            ResourceType.ANY,
            None,
            ResourcePatternType.ANY,
            f"User:{role}",
            None,
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        found += admin.describe_acls(wanted, request_timeout=APPLY_TIMEOUT_S).result(APPLY_TIMEOUT_S)
    return found


def _wait_until_in_force(admin: AdminClient, wanted: list[AclBinding]) -> None:
    """Wait until the broker has applied the rights; it does so shortly after the controller accepts them."""
    end = time.monotonic() + APPLY_TIMEOUT_S
    while set(_role_bindings(admin)) != set(wanted):
        if time.monotonic() > end:
            raise AccessDeniedError(
                f"the broker has not applied all rights after {APPLY_TIMEOUT_S:.0f} s: run faultline access apply again"
            )
        time.sleep(APPLY_POLL_S)


def _filter_of(one: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        one.restype,
        one.name,
        one.resource_pattern_type,
        one.principal,
        one.host,
        one.operation,
        one.permission_type,
    )


# Check --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MissingRight:
    """A topic or group, the operations that are denied, and the advice to grant them."""

    name: str
    operations: tuple[str, ...]
    advice: str


def needed_rights(settings: Settings) -> dict[str, tuple[AclOperation, ...]]:
    """Return the operations that a worker needs on every topic: Read, Write or both."""
    unused = () if settings.window_classes else (settings.topic_window_classes,)
    return {
        grant.name: tuple(OPERATIONS[one] for one in grant.operations if one in ("Read", "Write"))
        for grant in grants(settings)
        if grant.role == "worker" and grant.resource == "Topic" and grant.name not in unused
    }


def missing_rights(settings: Settings) -> list[MissingRight]:
    """Return the rights that a worker needs and the broker denies; nothing is written.

    Missing topics are left to ``check_topics``. librdkafka makes the requests because aiokafka 0.14 cannot: Metadata v8
    and DescribeGroups v3 contain the allowed operations.

    Raises:
        KafkaException: the broker does not answer librdkafka.
    """
    admin = AdminClient(librdkafka_configuration(settings))
    found = []
    topics = needed_rights(settings)
    described = admin.describe_topics(
        TopicCollection(list(topics)), include_authorized_operations=True, request_timeout=CHECK_TIMEOUT_S
    )
    for name, future in described.items():
        allowed = _operations(future)
        denied = tuple(one.name.capitalize() for one in topics[name] if allowed is not None and one not in allowed)
        if denied:
            found.append(MissingRight(name, denied, grant_advice(settings, [name], *denied)))
    group = admin.describe_consumer_groups(
        [settings.group], include_authorized_operations=True, request_timeout=CHECK_TIMEOUT_S
    )[settings.group]
    allowed = _operations(group, denied_by=KafkaError.GROUP_AUTHORIZATION_FAILED)
    if allowed is not None and AclOperation.READ not in allowed:
        advice = f"{who_needs(settings)} Read and Describe on the group (kafka-acls … --group {settings.group})"
        found.append(MissingRight(settings.group, ("Read",), advice))
    return found


def _operations(described: Future[Any], denied_by: int | None = None) -> set[Any] | None:
    """Return the allowed operations; None if the broker does not report them (a group without members)."""
    try:
        return set(described.result(CHECK_TIMEOUT_S).authorized_operations)
    except KafkaException as error:
        return set() if error.args[0].code() == denied_by else None


def librdkafka_configuration(settings: Settings) -> dict[str, Any]:
    """Return the settings as librdkafka's configuration, for PLAINTEXT, SSL, PLAIN and SCRAM (not OAUTHBEARER)."""
    password, key_password = settings.sasl_password, settings.ssl_key_password
    wanted: dict[str, Any] = {
        "bootstrap.servers": settings.broker,
        "client.id": settings.client_id,
        "security.protocol": settings.security_protocol,
        "log_level": 0,
        "error_cb": lambda error: None,
    }
    if settings.security_protocol.startswith("SASL"):
        wanted |= {
            "sasl.mechanisms": settings.sasl_mechanism,
            "sasl.username": settings.sasl_username,
            "sasl.password": password.get_secret_value() if password is not None else None,
        }
    if settings.security_protocol.endswith("SSL"):
        wanted |= {
            "ssl.ca.location": str(settings.ssl_cafile) if settings.ssl_cafile else None,
            "ssl.certificate.location": str(settings.ssl_certfile) if settings.ssl_certfile else None,
            "ssl.key.location": str(settings.ssl_keyfile) if settings.ssl_keyfile else None,
            "ssl.key.password": key_password.get_secret_value() if key_password is not None else None,
        }
    return {name: value for name, value in wanted.items() if value is not None}
