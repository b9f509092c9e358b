"""Settings of the connection to Kafka: broker, TLS, login, consumer group and timeouts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

DAY_S = 86_400
"""Longest useful time; much longer ones overflow the protocol's 32 bits of milliseconds."""


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    if not value.isprintable():
        raise ValueError("must not contain control characters")
    return value


def _file(value: Path) -> Path:
    try:
        value.open("rb").close()
    except OSError as error:
        raise ValueError(f"{str(value)!r} cannot be read: {error.strerror}") from None
    return value


Text = Annotated[str, AfterValidator(_text)]
File = Annotated[Path, AfterValidator(_file)]


class KafkaSettings(BaseSettings):
    """Fields of ``stream.settings.Settings`` for Kafka's clients."""

    # Broker
    broker: str = Field(
        "localhost:9092", description="Bootstrap servers of the Kafka cluster as host:port, separated by commas."
    )
    group: Text = Field(
        "faultline", description="Consumer group of the workers. Workers of one group share the partitions."
    )
    client_id: Text = Field("faultline", description="Name of this client in the broker's logs and quotas.")
    instance_id: Text | None = Field(
        None,
        description="Stable name of this worker for Kafka's static group membership: a restarted worker keeps its "
        "partitions. Each worker of a group needs its own.",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Security protocol of the connection to the broker; use SASL_SSL beyond loopback."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        "SCRAM-SHA-512", description="Login mechanism; used when FAULTLINE_SECURITY_PROTOCOL starts with SASL."
    )
    sasl_username: Text | None = Field(None, description="User name for PLAIN and SCRAM.")
    sasl_password: SecretStr | None = Field(None, description="Password for PLAIN and SCRAM; never logged.")
    sasl_oauth_token_url: Text | None = Field(
        None, description="URL of the token endpoint for OAUTHBEARER (client credentials grant)."
    )
    sasl_oauth_client_id: Text | None = Field(None, description="Client id at the token endpoint for OAUTHBEARER.")
    sasl_oauth_client_secret: SecretStr | None = Field(
        None, description="Client secret at the token endpoint for OAUTHBEARER; never logged."
    )
    sasl_oauth_scope: Text | None = Field(
        None, description="Scope requested from the token endpoint for OAUTHBEARER; none when unset."
    )
    ssl_cafile: File | None = Field(
        None,
        description="CA bundle (PEM file) that the broker's certificate is verified with; the system's own when unset.",
    )
    ssl_certfile: File | None = Field(None, description="Client certificate (PEM file) for mutual TLS.")
    ssl_keyfile: File | None = Field(
        None, description="Private key of the client certificate (PEM file) for mutual TLS."
    )
    ssl_key_password: SecretStr | None = Field(
        None, description="Passphrase of the private key in FAULTLINE_SSL_KEYFILE; never logged."
    )

    # Delivery
    commit_interval_s: float = Field(
        1.0,
        gt=0,
        le=DAY_S,
        description="Interval in seconds at which the offsets of acknowledged batches are committed.",
    )
    session_timeout_s: float = Field(
        15.0,
        ge=6,
        le=DAY_S,
        description="Time in seconds without a heartbeat after which a worker counts as dead and its partitions move "
        "to other workers.",
    )
    heartbeat_interval_s: float = Field(
        3.0,
        gt=0,
        le=DAY_S,
        description="Interval in seconds of a worker's heartbeats: by default a fifth of FAULTLINE_SESSION_TIMEOUT_S, "
        "at most half of it.",
    )
    rebalance_timeout_s: float = Field(
        45.0,
        gt=0,
        le=DAY_S,
        description="Time in seconds that a worker has in a rebalance to finish and commit its batches. It must "
        "exceed the time of the longest batch and its publish.",
    )
    request_timeout_s: float = Field(
        30.0,
        gt=0,
        le=DAY_S,
        description="Time in seconds after which a request to the broker has failed; at least "
        "FAULTLINE_SESSION_TIMEOUT_S.",
    )
    publish_retry_s: float = Field(
        1.0,
        gt=0,
        le=DAY_S,
        description="Pause in seconds before a failed publish is retried. Retries have no limit, since no event may "
        "be lost.",
    )
    publish_timeout_s: float = Field(
        60.0,
        gt=0,
        le=DAY_S,
        description="Time in seconds without an acknowledgement after which a new producer resends a record.",
    )
    linger_ms: int = Field(
        1,
        ge=0,
        le=60_000,
        description="Time in ms that a producer waits for more records before it sends a batch. Short, because events "
        "are few and urgent.",
    )
    compression: Literal["none", "gzip", "lz4", "snappy", "zstd"] = Field(
        "none", description="Compression of the records that Faultline produces."
    )
    offset_reset: Literal["earliest", "latest"] = Field(
        "earliest",
        description="Where a consumer group without committed offsets starts to read; earliest misses no record.",
    )

    @field_validator("broker")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        for server in value.split(","):
            host, _, port = server.strip().rpartition(":")
            if not host or not host.isprintable() or " " in host or not port.isdecimal() or not 0 < int(port) < 65536:
                raise ValueError(f"{server!r} is not host:port, e.g. localhost:9092")
        return ",".join(server.strip() for server in value.split(","))

    @model_validator(mode="after")
    def _timeouts_fit(self) -> KafkaSettings:
        if self.session_timeout_s > self.request_timeout_s:
            raise ValueError("request_timeout_s must be at least session_timeout_s")
        if self.heartbeat_interval_s * 2 > self.session_timeout_s:
            raise ValueError("heartbeat_interval_s must be at most half of session_timeout_s")
        return self

    @property
    def bootstrap_servers(self) -> list[str]:
        """Return the bootstrap servers as a list of ``host:port``."""
        return self.broker.split(",")
