"""Build the arguments of aiokafka's clients and of the Faust app from the settings, and check a login.

Only this module takes passwords out of their ``SecretStr``, to pass them to a client; it never logs them.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from faust.auth import Credentials, OAuthCredentials, SASLCredentials, SSLCredentials

from stream.errors import BrokerError, BrokerUnreachableError, SettingsError
from stream.kafka.embedded import is_embedded
from stream.kafka.errors import broker_errors, translate
from stream.kafka.oauth import ClientCredentialsTokens
from stream.settings import Settings

# Largest size of a record without its value: key, headers, batch framing. A dead letter has headers of its own as well.
RECORD_OVERHEAD_BYTES = 64 * 1024
RETRY_PAUSE_S = 0.5
WORKER_REQUESTS = (
    MetadataRequest,
    ProduceRequest,
    InitProducerIdRequest,  # idempotence
    FetchRequest,
    OffsetRequest,
    FindCoordinatorRequest,
    JoinGroupRequest,
    SyncGroupRequest,
    HeartbeatRequest,
    LeaveGroupRequest,
    OffsetCommitRequest,
    OffsetFetchRequest,
)

log = structlog.get_logger(__name__)


def ssl_context(settings: Settings) -> ssl.SSLContext | None:
    """Return a TLS context that verifies the broker's certificate and host name; None for a protocol without TLS.

    Raises:
        SettingsError: a file cannot be read or has the wrong content.
    """
    if not settings.security_protocol.endswith("SSL"):
        return None
    context = _trust(settings)
    if settings.ssl_certfile is not None:
        password = settings.ssl_key_password
        try:
            context.load_cert_chain(
                settings.ssl_certfile,
                settings.ssl_keyfile,
                # An empty passphrase fails at once, while None would prompt on the terminal.
                password.get_secret_value() if password is not None else "",
            )
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"the client certificate cannot be used ({_in_words(error)}): check FAULTLINE_SSL_CERTFILE, "
                "FAULTLINE_SSL_KEYFILE and FAULTLINE_SSL_KEY_PASSWORD"
            ) from None
    return context


def _trust(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(
            cafile=str(settings.ssl_cafile) if settings.ssl_cafile is not None else None
        )
    except OSError as error:
        raise SettingsError(
            f"the CA bundle {settings.ssl_cafile} cannot be used ({_in_words(error)}): "
            "FAULTLINE_SSL_CAFILE must name a PEM file"
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def client_kwargs(settings: Settings) -> dict[str, Any]:
    """Return the arguments that every aiokafka client accepts, including the admin client.

    Call it in the event loop that will use the client.

    Raises:
        SettingsError: a setting that the security protocol needs is missing or unusable.
    """
    return {
        "bootstrap_servers": settings.bootstrap_servers,
        "client_id": settings.client_id,
        "request_timeout_ms": int(settings.request_timeout_s * 1000),
        "security_protocol": settings.security_protocol,
        "ssl_context": ssl_context(settings),
        **_sasl_kwargs(settings),
    }


def consumer_kwargs(settings: Settings, *, group: str | None = None) -> dict[str, Any]:
    """Return the options of ``AIOKafkaConsumer``, without automatic commits; without ``group`` nothing is committed."""
    # The largest message must fit into a partition's share of a fetch, or else it is fetched alone.
    partition_bytes = max(1 << 20, settings.max_message_bytes + RECORD_OVERHEAD_BYTES)
    membership = {
        "group_id": group,
        "group_instance_id": settings.instance_id,
        "session_timeout_ms": int(settings.session_timeout_s * 1000),
        "heartbeat_interval_ms": int(settings.heartbeat_interval_s * 1000),
        "rebalance_timeout_ms": int(settings.rebalance_timeout_s * 1000),
    }
    return {
        **client_kwargs(settings),
        "enable_auto_commit": False,
        "auto_offset_reset": settings.offset_reset,
        "fetch_max_wait_ms": settings.fetch_max_wait_ms,
        "max_partition_fetch_bytes": partition_bytes,
        "max_poll_records": settings.max_poll_records,
        **(membership if group is not None else {}),
    }


def producer_kwargs(settings: Settings) -> dict[str, Any]:
    """Return the options of ``AIOKafkaProducer``: all replicas acknowledge, order is kept, retries repeat nothing."""
    return {
        **client_kwargs(settings),
        "acks": "all",
        "enable_idempotence": True,
        "linger_ms": settings.linger_ms,
        "compression_type": None if settings.compression == "none" else settings.compression,
        "max_request_size": max(1 << 20, settings.max_message_bytes + RECORD_OVERHEAD_BYTES),
    }


def faust_broker_credentials(settings: Settings) -> Credentials | None:
    """Return the value for ``faust.App(broker_credentials=…)``; None for PLAINTEXT.

    Raises:
        SettingsError: a setting that the security protocol needs is missing or unusable.
    """
    context = ssl_context(settings)
    if settings.security_protocol == "PLAINTEXT":
        return None
    if settings.security_protocol == "SSL":
        return SSLCredentials(context)
    sasl = _sasl_kwargs(settings)
    if settings.sasl_mechanism == "OAUTHBEARER":
        return OAuthCredentials(oauth_cb=sasl["sasl_oauth_token_provider"], ssl_context=context)
    return SASLCredentials(
        mechanism=settings.sasl_mechanism,
        username=sasl["sasl_plain_username"],
        password=sasl["sasl_plain_password"],
        ssl_context=context,
    )


def _sasl_kwargs(settings: Settings) -> dict[str, Any]:
    if not settings.security_protocol.startswith("SASL"):
        return {}
    logging.getLogger("aiokafka.conn").addFilter(_carries_no_login)
    mechanism = settings.sasl_mechanism
    if settings.security_protocol == "SASL_PLAINTEXT" and not mechanism.startswith("SCRAM"):
        log.warning("credentials-in-the-clear", mechanism=mechanism, advice="set FAULTLINE_SECURITY_PROTOCOL=SASL_SSL")
    if mechanism == "OAUTHBEARER":
        return {"sasl_mechanism": mechanism, "sasl_oauth_token_provider": _token_provider(settings)}
    if settings.sasl_username is None or settings.sasl_password is None:
        raise SettingsError(f"{mechanism} needs FAULTLINE_SASL_USERNAME and FAULTLINE_SASL_PASSWORD: set both")
    return {
        "sasl_mechanism": mechanism,
        "sasl_plain_username": settings.sasl_username,
        "sasl_plain_password": settings.sasl_password.get_secret_value(),
    }


def _carries_no_login(record: logging.LogRecord) -> bool:
    """Return False for a log record that contains credentials.

    At debug level aiokafka logs complete requests, and this one contains the PLAIN password or the token.
    """
    arguments = record.args if isinstance(record.args, tuple) else ()
    return not any(type(argument).__name__.startswith("SaslAuthenticate") for argument in arguments)


def _token_provider(settings: Settings) -> ClientCredentialsTokens:
    url, client = settings.sasl_oauth_token_url, settings.sasl_oauth_client_id
    secret = settings.sasl_oauth_client_secret
    if url is None or client is None or secret is None:
        raise SettingsError(
            "OAUTHBEARER needs FAULTLINE_SASL_OAUTH_TOKEN_URL, FAULTLINE_SASL_OAUTH_CLIENT_ID and "
            "FAULTLINE_SASL_OAUTH_CLIENT_SECRET: set all three"
        )
    trust = _trust(settings) if url.startswith("https:") and settings.ssl_cafile is not None else None
    return ClientCredentialsTokens(url, client, secret, settings.sasl_oauth_scope, ssl_context=trust)


def _in_words(error: BaseException) -> str:
    return str(error) or type(error).__name__


@dataclass(frozen=True)
class BrokerInfo:
    """Metadata of a broker that accepted the login.

    Attributes:
        bootstrap: address that answered.
        cluster_id: id of the cluster; None if the broker does not report it.
        nodes: ``host:port`` of every broker, as advertised.
        api_versions: lowest and highest version, by API key.
    """

    bootstrap: str
    cluster_id: str | None
    nodes: tuple[str, ...]
    api_versions: Mapping[int, tuple[int, int]]

    @property
    def embedded(self) -> bool:
        """Return True for an embedded broker, which does not support topic configurations."""
        return is_embedded(self.cluster_id)


async def check_reachable(settings: Settings, deadline_s: float = 10.0, *, retry: bool = False) -> BrokerInfo:
    """Log in to one of the bootstrap servers and to one address that it advertises.

    Args:
        settings: brokers and credentials.
        deadline_s: time limit for everything.
        retry: True waits for a broker that has not started yet, until the deadline. A refused login is raised at
            once, because waiting does not help.

    Raises:
        BrokerUnreachableError: no broker answers, or the advertised address does not.
        TlsError: there is no trusted connection.
        AuthenticationError: the login was refused.
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
                error = translate(TimeoutError(), settings, address)
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
        # A common mistake with containers: the bootstrap server advertises a name that clients cannot reach.
        if nodes and address not in nodes:
            try:
                (await _log_in(nodes[0], connection, settings)).close()
            except BrokerUnreachableError:
                raise BrokerUnreachableError(
                    f"{address} answers but advertises {nodes[0]}, which does not: set "
                    "advertised.listeners of the broker to an address that is reachable from here"
                ) from None
        return BrokerInfo(address, answer.get("cluster_id"), nodes, dict(first._versions))
    finally:
        first.close()


async def _log_in(address: str, connection: dict[str, Any], settings: Settings) -> AIOKafkaConnection:
    host, _, port = address.rpartition(":")
    with broker_errors(settings, address):
        return await create_conn(host.strip("[]"), int(port), **connection)


def unspoken_requests(broker: BrokerInfo) -> list[str]:
    """Return the requests of a worker for which broker and aiokafka have no version in common."""
    unsupported = []
    for request in WORKER_REQUESTS:
        lowest, highest = broker.api_versions.get(request.API_KEY, (0, -1))
        if not any(lowest <= version.API_VERSION <= highest for version in request._CLASSES):
            unsupported.append(request.__name__.removesuffix("Request"))
    return unsupported
