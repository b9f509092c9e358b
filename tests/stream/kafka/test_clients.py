"""Settings become safe clients, and an unreachable broker becomes one sentence of advice."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from stream.errors import BrokerUnreachableError, SettingsError
from stream.kafka.clients import check_reachable, consumer_kwargs, faust_broker_credentials, producer_kwargs
from stream.kafka.embedded import EmbeddedBroker
from stream.kafka.oauth import ClientCredentialsTokens
from stream.kafka.surroundings import IMAGE_PREFIX, surroundings
from stream.settings import Settings

PASSWORD = "correct-horse"


def make_settings(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def test_a_refused_connection_says_how_to_get_a_broker() -> None:
    with pytest.raises(BrokerUnreachableError, match=r"connection refused.*faultline broker"):
        await check_reachable(make_settings(broker=f"127.0.0.1:{free_port()}"))


@pytest.mark.parametrize(
    ("where", "host", "says"),
    [
        ("docker", "127.0.0.1", r"refused.*start the stack on the host \(docker compose up -d\)"),
        ("docker", "no-such-host.invalid", r"unknown: start the stack on the host \(docker compose up -d\)"),
        ("kubernetes", "127.0.0.1", "check the broker's pods"),
    ],
)
async def test_in_a_container_no_embedded_broker_is_advised(
    where: str, host: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.kafka.errors.surroundings", lambda: where)
    with pytest.raises(BrokerUnreachableError, match=says) as raised:
        await check_reachable(make_settings(broker=f"{host}:{free_port()}"), deadline_s=20)
    assert "faultline broker" not in str(raised.value)


def test_a_container_of_our_images_is_known_by_where_their_packages_are(tmp_path: Path) -> None:
    in_a_pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert surroundings(tmp_path, in_a_pod) == "host"
    assert surroundings(IMAGE_PREFIX, {}) == "docker"
    assert surroundings(IMAGE_PREFIX, in_a_pod) == "kubernetes"
    dockerfile = Path(__file__).resolve().parents[3] / "deploy" / "Dockerfile"
    assert f"python3 -m venv --without-pip {IMAGE_PREFIX}" in dockerfile.read_text(encoding="utf-8")


async def test_an_unknown_host_is_named() -> None:
    with pytest.raises(BrokerUnreachableError, match=r"no-such-host\.invalid:9092"):
        await check_reachable(make_settings(broker="no-such-host.invalid:9092"), deadline_s=20)


async def test_a_server_that_never_answers_ends_at_the_deadline() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(BrokerUnreachableError, match="no answer in time"):
            await check_reachable(make_settings(broker=address), deadline_s=0.5)


async def test_a_server_of_another_kind_is_named() -> None:
    async def not_kafka(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4)
        writer.close()

    server = await asyncio.start_server(not_kafka, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BrokerUnreachableError, match=f"127.0.0.1:{port}"):
            await check_reachable(make_settings(broker=f"127.0.0.1:{port}"), deadline_s=5)


async def test_a_second_bootstrap_server_is_tried(embedded_broker: EmbeddedBroker) -> None:
    settings = make_settings(broker=f"127.0.0.1:{free_port()},{embedded_broker.bootstrap}")
    broker = await check_reachable(settings)
    assert broker.bootstrap == embedded_broker.bootstrap
    assert broker.embedded


async def test_with_retry_a_broker_that_comes_up_late_is_found(embedded_broker: EmbeddedBroker) -> None:
    host, _, port = embedded_broker.bootstrap.partition(":")
    connections = 0

    async def closed_twice_then_forwarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections <= 2:
            writer.close()
            return
        there_reader, there_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(forward(reader, there_writer), forward(there_reader, writer))

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    late = await asyncio.start_server(closed_twice_then_forwarded, "127.0.0.1", 0)
    async with late:
        settings = make_settings(broker=f"127.0.0.1:{late.sockets[0].getsockname()[1]}")
        with pytest.raises(BrokerUnreachableError):
            await check_reachable(settings)
        assert (await check_reachable(settings, retry=True)).bootstrap == settings.broker
    assert connections == 3


async def test_a_broker_that_advertises_a_dead_address_is_distinguished() -> None:
    dead = f"127.0.0.1:{free_port()}"
    with EmbeddedBroker() as other:
        host, _, port = other.bootstrap.partition(":")

        async def rewrite(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            """Forward connections, with the port in the broker's metadata replaced."""
            there_reader, there_writer = await asyncio.open_connection(host, int(port))
            advertised = int(port).to_bytes(4, "big")
            while request := await reader.read(65536):
                there_writer.write(request)
                answer = await there_reader.read(65536)
                writer.write(answer.replace(advertised, int(dead.split(":")[1]).to_bytes(4, "big")))
            there_writer.close()
            writer.close()

        proxy = await asyncio.start_server(rewrite, "127.0.0.1", 0)
        async with proxy:
            address = f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
            with pytest.raises(BrokerUnreachableError, match=f"{address} answers but advertises {dead}"):
                await check_reachable(make_settings(broker=address), deadline_s=5)


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({"sasl_mechanism": "PLAIN", "sasl_username": "a"}, "FAULTLINE_SASL_PASSWORD"),
        ({"sasl_mechanism": "SCRAM-SHA-256", "sasl_password": "b"}, "FAULTLINE_SASL_USERNAME"),
        ({"sasl_mechanism": "OAUTHBEARER", "sasl_oauth_client_id": "c"}, "FAULTLINE_SASL_OAUTH_TOKEN_URL"),
    ],
)
def test_an_incomplete_login_names_what_is_missing(values: dict[str, str], missing: str) -> None:
    with pytest.raises(SettingsError, match=missing):
        faust_broker_credentials(make_settings(security_protocol="SASL_SSL", **values))


def test_files_that_are_no_certificates_are_named(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    with pytest.raises(SettingsError, match="FAULTLINE_SSL_CAFILE"):
        faust_broker_credentials(make_settings(security_protocol="SSL", ssl_cafile=wrong))
    with pytest.raises(SettingsError, match="FAULTLINE_SSL_CERTFILE"):
        faust_broker_credentials(make_settings(security_protocol="SSL", ssl_certfile=wrong))


def test_tls_verifies_certificate_and_host_name() -> None:
    credentials = faust_broker_credentials(make_settings(security_protocol="SSL"))
    auth = credentials_to_aiokafka_auth(credentials)
    assert auth["ssl_context"].check_hostname
    assert auth["ssl_context"].verify_mode is ssl.CERT_REQUIRED
    assert auth["ssl_context"].minimum_version >= ssl.TLSVersion.TLSv1_2


def test_sasl_ssl_gives_faust_tls_and_the_mechanism() -> None:
    settings = make_settings(
        security_protocol="SASL_SSL", sasl_mechanism="PLAIN", sasl_username="a", sasl_password=PASSWORD
    )
    credentials = faust_broker_credentials(settings)
    auth = credentials_to_aiokafka_auth(credentials)
    assert auth["security_protocol"] == "SASL_SSL"
    assert auth["sasl_mechanism"] == "PLAIN"
    assert auth["ssl_context"].check_hostname
    assert PASSWORD not in repr(credentials) + repr(settings)


def test_a_plain_connection_needs_no_credentials() -> None:
    assert faust_broker_credentials(make_settings()) is None


async def test_oauth_credentials_reach_faust() -> None:
    settings = make_settings(
        security_protocol="SASL_SSL",
        sasl_mechanism="OAUTHBEARER",
        sasl_oauth_token_url="https://login.example/token",
        sasl_oauth_client_id="faultline",
        sasl_oauth_client_secret="s3cret",
    )
    auth = credentials_to_aiokafka_auth(faust_broker_credentials(settings))
    assert isinstance(auth["sasl_oauth_token_provider"], ClientCredentialsTokens)
    assert auth["security_protocol"] == "SASL_SSL"
    assert "s3cret" not in repr(auth)


def test_a_producer_is_idempotent_and_waits_for_all_replicas() -> None:
    kwargs = producer_kwargs(make_settings(max_message_bytes=2_000_000, compression="zstd"))
    assert kwargs["acks"] == "all"
    assert kwargs["enable_idempotence"] is True
    assert kwargs["compression_type"] == "zstd"
    assert kwargs["max_request_size"] > 2_000_000


def test_a_consumer_never_commits_by_itself() -> None:
    assert consumer_kwargs(make_settings(), group="g")["enable_auto_commit"] is False
    assert "group_id" not in consumer_kwargs(make_settings())
