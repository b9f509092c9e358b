"""Grant rights on a broker of the tests; they are in force when the call returns."""

from __future__ import annotations

import time
from collections.abc import Iterable

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

DEADLINE_S = 20.0
EVERY = AclBindingFilter(
    ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
)


def grant(
    bootstrap: str,
    user: str,
    name: str,
    operations: Iterable[AclOperation],
    kind: ResourceType = ResourceType.TOPIC,
    pattern: ResourcePatternType = ResourcePatternType.LITERAL,
) -> None:
    """Allow ``operations`` and wait for the broker: the controller confirms a moment before the broker applies them."""
    bindings = {
        AclBinding(kind, name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
        for operation in operations
    }
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_acls(list(bindings)).values():
        future.result(DEADLINE_S)
    end = time.monotonic() + DEADLINE_S
    while not bindings <= set(admin.describe_acls(EVERY).result(DEADLINE_S)):
        assert time.monotonic() < end, f"the broker was not told of the rights on {name}"
        time.sleep(0.05)
