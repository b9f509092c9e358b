"""Settings of traces: what is missing or wrong is one line that says what to do, and a token is never told."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from stream.errors import SettingsError
from stream.settings import load_settings


def wrong(**given: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(**given)
    return str(caught.value)


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("missing", ["opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"])
def test_switched_on_without_opentelemetry_it_says_what_installs_it(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    said = wrong(tracing="otlp")
    assert said.startswith("wrong setting: FAULTLINE_TRACING: needs OpenTelemetry")
    assert "pip install 'faultline[otel]'" in said
    assert "\n" not in said


def test_switched_off_opentelemetry_need_not_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    assert load_settings().tracing == "off"


@pytest.mark.parametrize(
    "endpoint", ["localhost:4318", "grpc://host:4317", "http://", "http://host:99999/x", "", "a\nb"]
)
def test_an_endpoint_that_is_no_url_is_told(endpoint: str) -> None:
    assert "FAULTLINE_TRACING_ENDPOINT: must be the URL of a collector" in wrong(tracing_endpoint=endpoint)


def test_a_password_in_the_endpoint_is_refused_without_telling_it() -> None:
    said = wrong(tracing_endpoint="https://user:hunter2@collector/v1/traces")
    assert "FAULTLINE_TRACING_HEADERS" in said
    assert "hunter2" not in said


def test_headers_are_a_secret() -> None:
    settings = load_settings(tracing_headers="authorization=Bearer hunter2=, X-Scope = a b")
    assert settings.tracing_header_values == {"authorization": "Bearer hunter2=", "x-scope": "a b"}
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize("headers", ["hunter2", "a=", "=hunter2", "a b=hunter2", "a=hunter2\r\nb: c"])
def test_headers_that_are_none_are_refused_without_telling_them(headers: str) -> None:
    said = wrong(tracing_headers=headers)
    assert "FAULTLINE_TRACING_HEADERS: must be name=value" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
def test_the_sample_ratio_is_a_part_of_one(ratio: float) -> None:
    assert "FAULTLINE_TRACING_SAMPLE_RATIO" in wrong(tracing_sample_ratio=ratio)
