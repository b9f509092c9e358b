"""Translate broker errors into messages of one sentence that say what to do next."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka import errors as kafka_errors

from stream.errors import AccessDeniedError, AuthenticationError, BrokerError, BrokerUnreachableError, TlsError
from stream.kafka.surroundings import HOW_TO_START, surroundings
from stream.settings import Settings

LOGIN_REFUSED = (kafka_errors.SaslAuthenticationFailed, kafka_errors.AuthenticationFailedError)
DENIED = (
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.GroupAuthorizationFailedError,
    kafka_errors.ClusterAuthorizationFailedError,
    kafka_errors.TransactionalIdAuthorizationFailed,
)


@contextmanager
def broker_errors(settings: Settings, address: str | None = None) -> Iterator[None]:
    """Translate errors of aiokafka, ssl and sockets inside the block into Faultline's errors with advice."""
    try:
        yield
    except (kafka_errors.KafkaError, OSError, TimeoutError) as error:
        raise translate(error, settings, address or settings.broker) from None


def translate(error: Exception, settings: Settings, address: str) -> BrokerError:
    """Return Faultline's error for another library's; the most specific type is tried first."""
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
            f"no TLS connection to {address} ({reason}): check that the port uses TLS, and set FAULTLINE_SSL_CERTFILE "
            "if it requires a client certificate; FAULTLINE_SECURITY_PROTOCOL is " + protocol
        )
    if isinstance(error, LOGIN_REFUSED):
        who = settings.sasl_username or settings.sasl_oauth_client_id
        return AuthenticationError(
            f"{address} refused the login of '{who}' by {settings.sasl_mechanism}: check "
            "FAULTLINE_SASL_USERNAME, FAULTLINE_SASL_PASSWORD and FAULTLINE_SASL_MECHANISM"
        )
    if isinstance(error, kafka_errors.UnsupportedSaslMechanismError | kafka_errors.IllegalSaslStateError):
        return AuthenticationError(
            f"{address} does not accept {settings.sasl_mechanism}: set FAULTLINE_SASL_MECHANISM to one "
            f"that it offers, or FAULTLINE_SECURITY_PROTOCOL (now {protocol}) to the protocol of this port"
        )
    if isinstance(error, DENIED):
        return AccessDeniedError(f"{address} denies this ({error}): {who_needs(settings)} the right")
    return BrokerUnreachableError(_unreachable(error, settings, address))


def _unreachable(error: Exception, settings: Settings, address: str) -> str:
    where = surroundings()
    start = HOW_TO_START[where]
    if isinstance(error, socket.gaierror):
        # The name of a compose service is known while its container runs.
        if where == "docker":
            return f"the host of {address} is unknown: {start}, and check its name there"
        return f"the host of {address} is unknown: check its name in FAULTLINE_BROKER"
    if isinstance(error, ConnectionRefusedError) or getattr(error, "errno", None) is not None:
        refused = isinstance(error, ConnectionRefusedError)
        reason = "connection refused" if refused else getattr(error, "strerror", None) or str(error)
        return f"no broker at {address} ({reason}): {start}"
    if isinstance(error, TimeoutError):
        return f"no broker at {address} (no answer in time): check the network and firewalls, or {start}"
    return (
        f"{address} closed the connection ({type(error).__name__}): check that it is a Kafka broker and "
        f"that the port uses FAULTLINE_SECURITY_PROTOCOL={settings.security_protocol}"
    )


def principal(settings: Settings) -> str | None:
    """Return the name that this client logs in with; None without SASL."""
    sasl = settings.security_protocol.startswith("SASL")
    return settings.sasl_username or settings.sasl_oauth_client_id if sasl else None


def who_needs(settings: Settings) -> str:
    """Return the first words of advice about rights: the principal to grant them to."""
    name = principal(settings)
    return f"grant User:{name}" if name else "grant this client's principal"
