"""Whether a broker can be reached and lets us in, and if not, the one sentence that says why and what to do."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import errors as kafka_errors
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.protocol.metadata import MetadataRequest

from stream.clients import client_kwargs
from stream.embedded import is_embedded
from stream.errors import AccessDeniedError, AuthenticationError, BrokerError, BrokerUnreachableError, TlsError
from stream.settings import Settings

RETRY_PAUSE_S = 0.5
LOGIN_REFUSED = (kafka_errors.SaslAuthenticationFailed, kafka_errors.AuthenticationFailedError)
DENIED = (
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.GroupAuthorizationFailedError,
    kafka_errors.ClusterAuthorizationFailedError,
    kafka_errors.TransactionalIdAuthorizationFailed,
)


@dataclass(frozen=True)
class BrokerInfo:
    """What a broker that let us in told about itself.

    Attributes:
        bootstrap: the address that answered.
        cluster_id: None where the broker does not tell.
        nodes: ``host:port`` of every broker, as advertised.
        api_versions: API key → (lowest, highest) version.
    """

    bootstrap: str
    cluster_id: str | None
    nodes: tuple[str, ...]
    api_versions: Mapping[int, tuple[int, int]]

    @property
    def embedded(self) -> bool:
        """Whether this is an embedded broker, which takes no topic settings."""
        return is_embedded(self.cluster_id)


async def check_reachable(settings: Settings, deadline_s: float = 10.0, *, retry: bool = False) -> BrokerInfo:
    """Log in at one of the bootstrap servers and at one address that it advertises.

    Args:
        settings: who and where.
        deadline_s: seconds for everything.
        retry: wait for a broker that is not up yet, until the deadline. A refused login never becomes right
            by waiting and is raised at once.

    Raises:
        BrokerUnreachableError: nobody answers, or what is advertised does not.
        TlsError: no trusted connection.
        AuthenticationError: login refused.
        SettingsError: a setting that the security protocol needs is missing.
    """
    end = time.monotonic() + deadline_s
    connection = client_kwargs(settings)
    connection.pop("bootstrap_servers")
    while True:
        error: BrokerError | None = None
        for address in settings.bootstrap_servers:
            left_s = max(end - time.monotonic(), 0.1)
            connection["request_timeout_ms"] = int(left_s * 1000)
            try:
                return await asyncio.wait_for(_describe(address, connection, settings), left_s)
            except TimeoutError:
                error = _translate(TimeoutError(), settings, address)
            except BrokerUnreachableError as unreachable:
                error = unreachable
        if error is not None and (not retry or time.monotonic() + RETRY_PAUSE_S > end):
            raise error
        await asyncio.sleep(RETRY_PAUSE_S)


async def _describe(address: str, connection: dict[str, Any], settings: Settings) -> BrokerInfo:
    first = await _log_in(address, connection, settings)
    try:
        with broker_errors(settings, address):
            answer = (await first.send(MetadataRequest([]))).to_object()
        nodes = tuple(f"{broker['host']}:{broker['port']}" for broker in answer["brokers"])
        # The classic trap of containers: the bootstrap answers and sends everybody to a name of its own.
        if nodes and address not in nodes:
            try:
                (await _log_in(nodes[0], connection, settings)).close()
            except BrokerUnreachableError:
                raise BrokerUnreachableError(
                    f"{address} answers but sends clients to {nodes[0]}, which does not: set "
                    "advertised.listeners of the broker to an address that is reachable from here"
                ) from None
        return BrokerInfo(address, answer.get("cluster_id"), nodes, dict(first._versions))
    finally:
        first.close()


async def _log_in(address: str, connection: dict[str, Any], settings: Settings) -> AIOKafkaConnection:
    host, _, port = address.rpartition(":")
    with broker_errors(settings, address):
        return await create_conn(host.strip("[]"), int(port), **connection)


@contextmanager
def broker_errors(settings: Settings, address: str | None = None) -> Iterator[None]:
    """Turn what aiokafka, ssl and sockets raise inside into one of our errors with its advice."""
    try:
        yield
    except (kafka_errors.KafkaError, OSError, TimeoutError) as error:
        raise _translate(error, settings, address or settings.broker) from None


def _translate(error: Exception, settings: Settings, address: str) -> BrokerError:
    """The error of ours for one of theirs; the most telling type is looked for first."""
    protocol = settings.security_protocol
    if isinstance(error, ssl.SSLCertVerificationError):
        return TlsError(
            f"the certificate of {address} is not accepted ({error.verify_message}): use the name that the "
            "certificate carries in FAULTLINE_BROKER, or set FAULTLINE_SSL_CAFILE to the CA that signed it"
        )
    reset = isinstance(error, ConnectionResetError) and protocol.endswith("SSL")
    if isinstance(error, ssl.SSLError) or reset:
        reason = getattr(error, "reason", None) or error
        return TlsError(
            f"no TLS connection to {address} ({reason}): does that port speak TLS, and does it "
            "want a client certificate (FAULTLINE_SSL_CERTFILE)? FAULTLINE_SECURITY_PROTOCOL is " + protocol
        )
    if isinstance(error, LOGIN_REFUSED):
        who = settings.sasl_username or settings.sasl_oauth_client_id
        return AuthenticationError(
            f"{address} refused the login of '{who}' by {settings.sasl_mechanism}: check "
            "FAULTLINE_SASL_USERNAME, FAULTLINE_SASL_PASSWORD and FAULTLINE_SASL_MECHANISM"
        )
    if isinstance(error, kafka_errors.UnsupportedSaslMechanismError | kafka_errors.IllegalSaslStateError):
        return AuthenticationError(
            f"{address} does not take {settings.sasl_mechanism} here: set FAULTLINE_SASL_MECHANISM to one "
            f"that it offers, or FAULTLINE_SECURITY_PROTOCOL (now {protocol}) to what this port speaks"
        )
    if isinstance(error, DENIED):
        return AccessDeniedError(f"{address} denies this ({error}): {who_needs(settings)} the right")
    return BrokerUnreachableError(_unreachable(error, settings, address))


def _unreachable(error: Exception, settings: Settings, address: str) -> str:
    start = "start one (faultline broker, or faultline kafka start) or set FAULTLINE_BROKER"
    if isinstance(error, socket.gaierror):
        return f"the host of {address} is unknown: check its name in FAULTLINE_BROKER"
    if isinstance(error, ConnectionRefusedError) or getattr(error, "errno", None) is not None:
        reason = getattr(error, "strerror", None) or str(error)
        return f"no broker at {address} ({reason}): {start}"
    if isinstance(error, TimeoutError):
        return f"no broker at {address} (no answer in time): check the network and firewalls, or {start}"
    return (
        f"{address} closed the connection ({type(error).__name__}): is it a Kafka broker, and does that port "
        f"speak FAULTLINE_SECURITY_PROTOCOL={settings.security_protocol}?"
    )


def who_needs(settings: Settings) -> str:
    """Start of an advice about rights: grant whom."""
    sasl = settings.security_protocol.startswith("SASL")
    name = settings.sasl_username or settings.sasl_oauth_client_id if sasl else None
    return f"grant User:{name}" if name else "grant this client's principal"
