"""What this client may do with the topics and the group of a worker, asked of the broker without writing anything."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient

from stream.contract import FAULT_TYPES
from stream.kafka.admin import grant_advice
from stream.kafka.errors import who_needs
from stream.settings import Settings

REQUEST_TIMEOUT_S = 10.0
READ, WRITE = AclOperation.READ, AclOperation.WRITE


@dataclass(frozen=True)
class MissingRight:
    """A topic or group, the operations that are denied, and whom to grant them."""

    name: str
    operations: tuple[str, ...]
    advice: str


def needed_rights(settings: Settings) -> dict[str, tuple[Any, ...]]:
    """Topic → what a worker does with it."""
    needed = {
        settings.topic_windows: (READ,),
        **{settings.topic_faults(kind): (WRITE,) for kind in FAULT_TYPES},
        settings.topic_dead_letters: (WRITE,),
        settings.topic_line_states: (READ, WRITE),
        settings.topic_models: (READ,),
    }
    return needed | ({settings.topic_window_classes: (WRITE,)} if settings.window_classes else {})


def missing_rights(settings: Settings) -> list[MissingRight]:
    """Rights of a worker that the broker denies; ``check_topics`` tells of topics that are not there.

    librdkafka asks, since aiokafka 0.14 cannot: Metadata v8 and DescribeGroups v3 carry the operations allowed.

    Raises:
        KafkaException: the broker does not answer librdkafka.
    """
    admin = AdminClient(librdkafka_configuration(settings))
    found = []
    topics = needed_rights(settings)
    described = admin.describe_topics(
        TopicCollection(list(topics)), include_authorized_operations=True, request_timeout=REQUEST_TIMEOUT_S
    )
    for name, future in described.items():
        allowed = _operations(future)
        denied = tuple(one.name.capitalize() for one in topics[name] if allowed is not None and one not in allowed)
        if denied:
            found.append(MissingRight(name, denied, grant_advice(settings, [name], *denied)))
    group = admin.describe_consumer_groups(
        [settings.group], include_authorized_operations=True, request_timeout=REQUEST_TIMEOUT_S
    )[settings.group]
    allowed = _operations(group, denied_by=KafkaError.GROUP_AUTHORIZATION_FAILED)
    if allowed is not None and READ not in allowed:
        advice = f"{who_needs(settings)} Read and Describe on the group (kafka-acls … --group {settings.group})"
        found.append(MissingRight(settings.group, ("Read",), advice))
    return found


def _operations(described: Future[Any], denied_by: int | None = None) -> set[Any] | None:
    """Allowed operations; None where the broker does not tell, as of a group that never had a member."""
    try:
        return set(described.result(REQUEST_TIMEOUT_S).authorized_operations)
    except KafkaException as error:
        return set() if error.args[0].code() == denied_by else None


def librdkafka_configuration(settings: Settings) -> dict[str, Any]:
    """Settings in librdkafka's words, for PLAINTEXT, SSL, PLAIN and SCRAM (not OAUTHBEARER)."""
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
