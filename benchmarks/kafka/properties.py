"""Create ``server.properties`` of a single Apache Kafka node: listeners, users, access rights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Ports:
    """Ports on loopback; 0 disables a listener."""

    plain: int
    controller: int
    sasl: int = 0
    tls: int = 0


@dataclass(frozen=True)
class Security:
    """Further listeners, users and access rights. The plain listener always exists, with all rights.

    Attributes:
        users: passwords by name, for PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 on ``sasl_bootstrap``. With users,
            OAUTHBEARER is enabled, too, and accepts unsigned tokens, which is for tests only.
        tls_keystore: PEM file with an unencrypted PKCS#8 key and its certificate, for ``tls_bootstrap``.
        authorizer: True if all users except the anonymous one of the plain listener need ACLs.
    """

    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls_keystore: Path | None = None
    authorizer: bool = False


def server_properties(log_dir: Path, ports: Ports, security: Security) -> dict[str, str]:
    """Return all properties of one node that is broker and controller, and listens on loopback only."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{ports.controller}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAIN",
        "log.dirs": str(log_dir),
        # A missing topic must cause an error, instead of being created with default settings.
        "auto.create.topics.enable": "false",
        # A single node has no replicas; few partitions make it start quickly.
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # The first worker of a group need not wait for others.
        "group.initial.rebalance.delay.ms": "0",
        # A killed node can rejoin only when its old session has ended: after 4 s instead of 9.
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "500",
        "num.network.threads": "2",
        "num.io.threads": "4",
        **_listener_properties(ports, security),
    }


def _listener_properties(ports: Ports, security: Security) -> dict[str, str]:
    listeners = {
        "CONTROLLER": ("PLAINTEXT", "127.0.0.1", ports.controller),
        "PLAIN": ("PLAINTEXT", "127.0.0.1", ports.plain),
    }
    lines: dict[str, str] = {}
    if security.users:
        listeners["SASL"] = ("SASL_PLAINTEXT", "127.0.0.1", ports.sasl)
        lines |= _sasl_properties(security.users)
    if security.tls_keystore is not None:
        listeners["TLS"] = ("SSL", "localhost", ports.tls)
        lines |= {
            "listener.name.tls.ssl.keystore.type": "PEM",
            "listener.name.tls.ssl.keystore.location": str(security.tls_keystore),
        }
    if security.authorizer:
        lines |= {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }
    return lines | {
        "listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, (_, _, port) in listeners.items()),
        "advertised.listeners": ",".join(
            f"{name}://{host}:{port}" for name, (_, host, port) in listeners.items() if name != "CONTROLLER"
        ),
        "listener.security.protocol.map": ",".join(
            f"{name}:{protocol}" for name, (protocol, _, _) in listeners.items()
        ),
    }


def _sasl_properties(users: Mapping[str, str]) -> dict[str, str]:
    prefix, classes = "listener.name.sasl", "org.apache.kafka.common.security"
    logins = " ".join(f'user_{name}="{password}"' for name, password in users.items())
    scram = f"{classes}.scram.ScramLoginModule required;"
    return {
        f"{prefix}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
        f"{prefix}.plain.sasl.jaas.config": f"{classes}.plain.PlainLoginModule required {logins};",
        f"{prefix}.scram-sha-256.sasl.jaas.config": scram,
        f"{prefix}.scram-sha-512.sasl.jaas.config": scram,
        f"{prefix}.oauthbearer.sasl.jaas.config": (
            f'{classes}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="test";'
        ),
    }
