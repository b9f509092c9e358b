"""Who may do what on the broker: the least that each role needs, as a table. Pure.

A role is a principal of the broker (``User:worker``), not a person. What is not in the table is denied: the worker
cannot write models, the trainer cannot write fault events, a gateway can read nothing.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from stream.contract import FAULT_TYPES
from stream.settings import Settings

Operation = Literal["Read", "Write", "Describe", "DescribeConfigs"]
Resource = Literal["Topic", "Group"]
ROLES: Mapping[str, str] = {
    "gateway": "sends windows",
    "worker": "judges windows, publishes fault events",
    "trainer": "gathers windows and verdicts, retrains, promotes",
    "subscriber": "reads fault events and answers",
    "operator": "gives verdicts, asks for retrainings, looks at dead letters, models and reports",
}
"""The roles, and what each is for."""


@dataclass(frozen=True, order=True)
class Grant:
    """One role may do some operations on one topic or group."""

    role: str
    resource: Resource
    name: str
    operations: tuple[Operation, ...]
    prefixed: bool = False
    """Whether ``name`` is the beginning of names."""


def grants(settings: Settings) -> tuple[Grant, ...]:
    """What every role needs, under the names of the settings."""
    faults = tuple(settings.topic_faults(kind) for kind in FAULT_TYPES)
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
        # Schedule and drift are requests of the trainer's own.
        "trainer": (models, settings.topic_reports, settings.topic_retrain),
        "subscriber": (),
        "operator": (settings.topic_labels, settings.topic_retrain),
    }
    # Workers and trainers check their topics' settings when they start.
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
    """The command of Kafka's own tool that makes a grant."""
    words = ["kafka-acls.sh", "--bootstrap-server", broker, "--add", "--allow-principal", f"User:{grant.role}"]
    for operation in grant.operations:
        words += ["--operation", operation]
    words += [f"--{grant.resource.lower()}", grant.name]
    if grant.prefixed:
        words += ["--resource-pattern-type", "prefixed"]
    return shlex.join(words)
