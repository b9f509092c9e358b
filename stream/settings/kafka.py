"""Settings of the connection to Kafka: broker, TLS, login, group, and what its clients wait for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

DAY_S = 86_400
"""Longest time that makes sense; much longer ones overflow the protocol's 32 bits of milliseconds."""


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    if not value.isprintable():
        raise ValueError("must hold no control characters")
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
    broker: str = Field("localhost:9092", description="Bootstrap servers, host:port, separated by commas.")
    group: Text = Field("faultline", description="Consumer group of the workers; a worker only knows its peers by it.")
    client_id: Text = Field("faultline", description="Name under which the broker logs and limits this client.")
    instance_id: Text | None = Field(
        None, description="Static group membership: a stable name lets a restart keep its partitions."
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Protocol to the broker; SASL_SSL is the safe choice beyond loopback."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        "SCRAM-SHA-512", description="Used when security_protocol starts with SASL."
    )
    sasl_username: Text | None = Field(None, description="User for PLAIN and SCRAM.")
    sasl_password: SecretStr | None = Field(None, description="Password for PLAIN and SCRAM; never logged.")
    sasl_oauth_token_url: Text | None = Field(None, description="Token endpoint for OAUTHBEARER (client credentials).")
    sasl_oauth_client_id: Text | None = Field(None, description="Client id at the token endpoint.")
    sasl_oauth_client_secret: SecretStr | None = Field(None, description="Client secret; never logged.")
    sasl_oauth_scope: Text | None = Field(None, description="Scope asked for at the token endpoint.")
    ssl_cafile: File | None = Field(None, description="CA bundle (PEM); the system's own when unset.")
    ssl_certfile: File | None = Field(None, description="Client certificate (PEM) for mutual TLS.")
    ssl_keyfile: File | None = Field(None, description="Client key (PEM) for mutual TLS.")
    ssl_key_password: SecretStr | None = Field(None, description="Passphrase of the client key; never logged.")

    # Delivery
    commit_interval_s: float = Field(
        1.0, gt=0, le=DAY_S, description="Offsets of finished batches are committed this often."
    )
    session_timeout_s: float = Field(
        15.0, ge=6, le=DAY_S, description="A dead worker's partitions move after this long."
    )
    heartbeat_interval_s: float = Field(3.0, gt=0, le=DAY_S, description="A fifth of the session timeout.")
    rebalance_timeout_s: float = Field(45.0, gt=0, le=DAY_S, description="Longest batch plus publish must stay below.")
    request_timeout_s: float = Field(30.0, gt=0, le=DAY_S, description="At least the session timeout.")
    publish_retry_s: float = Field(
        1.0, gt=0, le=DAY_S, description="Pause before a failed publish is tried again; for ever."
    )
    publish_timeout_s: float = Field(
        60.0, gt=0, le=DAY_S, description="A publish without an answer for so long is sent again by a new producer."
    )
    linger_ms: int = Field(1, ge=0, le=60_000, description="The producer gathers this long: events are few and urgent.")
    compression: Literal["none", "gzip", "lz4", "snappy", "zstd"] = Field(
        "none", description="Compression of what we produce."
    )
    offset_reset: Literal["earliest", "latest"] = Field(
        "earliest", description="Where a new group starts; earliest loses nothing."
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
