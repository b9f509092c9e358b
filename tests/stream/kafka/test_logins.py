"""Logins and trust on Apache Kafka: valid credentials are accepted, and invalid ones give one clear error."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from benchmarks.kafka.properties import Security
from benchmarks.kafka.server import KafkaServer
from stream.errors import AuthenticationError, BrokerUnreachableError, TlsError
from stream.kafka.clients import check_reachable, consumer_kwargs, faust_broker_credentials, producer_kwargs
from stream.settings import Settings

PASSWORD = "correct-horse"


def make_settings(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)


def sasl_settings(address: str, mechanism: str, password: str = PASSWORD) -> Settings:
    return make_settings(
        broker=address,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism=mechanism,
        sasl_username="alice",
        sasl_password=password,
    )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a self-signed certificate for the name localhost only, and ``keystore.pem``, which also has the key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl command to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "keystore.pem").write_text(key.read_text() + certificate.read_text())
    return certificate


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Iterator[KafkaServer]:
    """Start Apache Kafka with a SASL and a TLS listener."""
    security = Security(users={"alice": PASSWORD}, tls_keystore=certificate.with_name("keystore.pem"))
    with KafkaServer(tmp_path_factory.mktemp("guarded"), security=security) as server:
        yield server


@pytest.mark.kafka
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_the_right_password_logs_in_and_a_wrong_one_is_one_clear_error(
    guarded: KafkaServer, mechanism: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    broker = await check_reachable(sasl_settings(guarded.sasl_bootstrap, mechanism))
    assert broker.nodes == (guarded.sasl_bootstrap,)
    assert not broker.embedded
    with pytest.raises(AuthenticationError, match="check FAULTLINE_SASL_USERNAME") as refused:
        await check_reachable(sasl_settings(guarded.sasl_bootstrap, mechanism, "battery-staple"), retry=True)
    assert "battery-staple" not in str(refused.value) + caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.kafka
async def test_a_login_that_the_port_does_not_speak_is_named(guarded: KafkaServer) -> None:
    with pytest.raises(AuthenticationError, match="SCRAM-SHA-512"):
        await check_reachable(sasl_settings(guarded.bootstrap, "SCRAM-SHA-512"))
    with pytest.raises(BrokerUnreachableError, match="FAULTLINE_SECURITY_PROTOCOL=PLAINTEXT"):
        await check_reachable(make_settings(broker=guarded.sasl_bootstrap))


@pytest.mark.kafka
async def test_tls_takes_the_name_in_the_certificate_and_refuses_another(
    guarded: KafkaServer, certificate: Path
) -> None:
    trusted = {"security_protocol": "SSL", "ssl_cafile": certificate}
    right = guarded.tls_bootstrap
    assert (await check_reachable(make_settings(broker=right, **trusted))).bootstrap == right
    wrong = right.replace("localhost", "127.0.0.1")
    with pytest.raises(TlsError, match=r"not accepted.*127\.0\.0\.1"):
        await check_reachable(make_settings(broker=wrong, **trusted))


@pytest.mark.kafka
async def test_tls_without_the_ca_is_refused(guarded: KafkaServer) -> None:
    with pytest.raises(TlsError, match="FAULTLINE_SSL_CAFILE"):
        await check_reachable(make_settings(broker=guarded.tls_bootstrap, security_protocol="SSL"))


@pytest.mark.kafka
async def test_tls_to_a_plain_port_is_named(guarded: KafkaServer) -> None:
    with pytest.raises(TlsError, match="check that the port uses TLS"):
        await check_reachable(make_settings(broker=guarded.bootstrap, security_protocol="SSL"))


@pytest.mark.kafka
async def test_records_go_through_a_scram_login_and_faust_gets_the_same_one(guarded: KafkaServer) -> None:
    from confluent_kafka.admin import AdminClient, NewTopic

    settings = sasl_settings(guarded.sasl_bootstrap, "SCRAM-SHA-512")
    admin = AdminClient({"bootstrap.servers": guarded.bootstrap})
    admin.create_topics([NewTopic("scram", 1, 1)])["scram"].result(20)
    async with AIOKafkaProducer(**producer_kwargs(settings)) as producer:
        await producer.send_and_wait("scram", b"windows")
    async with AIOKafkaConsumer("scram", **consumer_kwargs(settings, group="g")) as consumer:
        assert (await asyncio.wait_for(consumer.getone(), 30)).value == b"windows"
    auth = credentials_to_aiokafka_auth(faust_broker_credentials(settings))
    async with AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap_servers, auto_offset_reset="earliest", **auth
    ) as consumer:
        consumer.assign([TopicPartition("scram", 0)])
        assert (await asyncio.wait_for(consumer.getone(), 30)).value == b"windows"


def unsigned_token(subject: str, life_s: int = 300) -> str:
    """Return an RFC 7519 token with algorithm none, which Apache Kafka accepts if it has no keys configured."""

    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    now = int(time.time())
    claims = {"sub": subject, "iat": now, "exp": now + life_s}
    return f"{part({'alg': 'none'})}.{part(claims)}."


@pytest.mark.kafka
async def test_a_token_of_the_endpoint_logs_in_by_oauthbearer(
    guarded: KafkaServer, token_endpoint: Callable[..., Any]
) -> None:
    good = (200, {"access_token": unsigned_token("alice"), "expires_in": 300})
    async with token_endpoint([good]) as (url, asked):
        settings = make_settings(
            broker=guarded.sasl_bootstrap,
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="OAUTHBEARER",
            sasl_oauth_token_url=url,
            sasl_oauth_client_id="faultline",
            sasl_oauth_client_secret="s3cret",
            sasl_oauth_scope="kafka",
        )
        await check_reachable(settings)
    form = await asked[0].post()
    assert dict(form) == {"grant_type": "client_credentials", "scope": "kafka"}
    assert base64.b64decode(asked[0].headers["Authorization"].split()[1]) == b"faultline:s3cret"
