"""Makes the grants of ``stream.kafka.acls`` on a broker, and takes from our roles what the table does not have."""

from __future__ import annotations

import time
from collections.abc import Iterable

from confluent_kafka import KafkaException
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
from stream.kafka.acls import ROLES, Grant
from stream.kafka.rights import librdkafka_configuration
from stream.settings import Settings

TIMEOUT_S = 20.0
POLL_S = 0.1
OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}


def bindings(grants: Iterable[Grant]) -> list[AclBinding]:
    """One binding for each operation, from any host."""
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
    """Make the roles' rights those of the table; other principals' are left alone.

    Returns:
        How many rights were added, and how many taken away.

    Raises:
        AccessDeniedError: this client may not change rights, or the broker has no authorizer.
        BrokerUnreachableError: the broker does not answer.
    """
    admin = AdminClient(librdkafka_configuration(settings))
    wanted = bindings(grants)
    try:
        there = _of_roles(admin)
        new = [one for one in wanted if one not in there]
        for future in admin.create_acls(new, request_timeout=TIMEOUT_S).values() if new else ():
            future.result(TIMEOUT_S)
        old = [one for one in there if one not in wanted]
        for future in admin.delete_acls([_exactly(one) for one in old]).values() if old else ():
            future.result(TIMEOUT_S)
        _wait_until_in_force(admin, wanted)
    except KafkaException as error:
        reason = error.args[0]
        if reason.name() in ("_TRANSPORT", "_TIMED_OUT", "_ALL_BROKERS_DOWN", "_AUTHENTICATION"):
            raise BrokerUnreachableError(
                f"{settings.broker} gives no answer to the request for its rights ({reason.str()}): "
                "faultline doctor says what is wrong with the connection"
            ) from None
        raise AccessDeniedError(
            f"rights cannot be changed ({reason.str()}): the broker needs authorizer.class.name, and this client Alter "
            "on the cluster, or a place in super.users"
        ) from None
    return len(new), len(old)


def _of_roles(admin: AdminClient) -> list[AclBinding]:
    """All rights of our roles that there are."""
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
        found += admin.describe_acls(wanted, request_timeout=TIMEOUT_S).result(TIMEOUT_S)
    return found


def _wait_until_in_force(admin: AdminClient, wanted: list[AclBinding]) -> None:
    """The controller has said yes; the broker learns of it a moment later."""
    end = time.monotonic() + TIMEOUT_S
    while set(_of_roles(admin)) != set(wanted):
        if time.monotonic() > end:
            raise AccessDeniedError(
                f"the broker has not taken over all rights after {TIMEOUT_S:.0f} s: faultline access apply once more"
            )
        time.sleep(POLL_S)


def _exactly(one: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        one.restype,
        one.name,
        one.resource_pattern_type,
        one.principal,
        one.host,
        one.operation,
        one.permission_type,
    )
