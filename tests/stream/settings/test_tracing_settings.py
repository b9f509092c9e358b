"""Settings of traces: a missing or invalid one gives one line with the remedy, and no token is ever shown."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

from stream.errors import SettingsError
from stream.settings import load_settings
from stream.settings.tracing import otel_endpoint, otel_headers, otel_sample_ratio


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


def wrong(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    """Return the error that these variables give with tracing on; with tracing off they are not read."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert load_settings().tracing == "off"
    with pytest.raises(SettingsError) as caught:
        load_settings(tracing="otlp")
    return str(caught.value)


@pytest.mark.parametrize("missing", ["opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"])
def test_switched_on_without_opentelemetry_it_says_what_installs_it(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    said = wrong(monkeypatch)
    assert said.startswith("wrong setting: FAULTLINE_TRACING: needs OpenTelemetry")
    assert "pip install 'faultline[otel]'" in said
    assert "\n" not in said


def test_switched_off_opentelemetry_need_not_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    assert load_settings().tracing == "off"


@pytest.mark.parametrize(
    ("former", "present"),
    [
        ("FAULTLINE_TRACING_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        ("FAULTLINE_TRACING_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"),
        ("FAULTLINE_TRACING_SAMPLE_RATIO", "OTEL_TRACES_SAMPLER_ARG"),
    ],
)
def test_a_former_setting_is_refused_with_the_name_of_its_successor(
    former: str, present: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(former, "hunter2")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert f"{former}: set {present} in the environment instead" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
@pytest.mark.parametrize("endpoint", ["localhost:4318", "grpc://host:4317", "http://", "http://host:99999/x", "a\nb"])
def test_an_endpoint_that_is_no_url_is_reported(name: str, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = wrong(monkeypatch, **{name: endpoint})
    assert f"FAULTLINE_TRACING: {name} must be the URL of a collector" in said


def test_a_password_in_the_endpoint_is_refused_without_telling_it(monkeypatch: pytest.MonkeyPatch) -> None:
    said = wrong(monkeypatch, OTEL_EXPORTER_OTLP_ENDPOINT="https://user:hunter2@collector")
    assert "OTEL_EXPORTER_OTLP_HEADERS" in said
    assert "hunter2" not in said


def test_the_endpoint_is_of_all_signals_unless_that_of_traces_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert otel_endpoint() == "http://localhost:4318/v1/traces"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector/")
    assert otel_endpoint() == "https://collector/v1/traces"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://other/v1/traces")
    assert otel_endpoint() == "https://other/v1/traces"


def test_headers_as_opentelemetry_takes_them_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer hunter2=, X-Scope = a b")
    assert "hunter2" not in repr(load_settings(tracing="otlp"))
    assert otel_headers().startswith("authorization")


@pytest.mark.parametrize("headers", ["hunter2", "a=", "=hunter2", "a b=hunter2", "a=hunter2\r\nb: c"])
def test_headers_that_are_none_are_refused_without_telling_them(headers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = wrong(monkeypatch, OTEL_EXPORTER_OTLP_HEADERS=headers)
    assert "OTEL_EXPORTER_OTLP_HEADERS must be name=value" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("ratio", ["-0.1", "1.1", "nan", "much"])
def test_the_sample_ratio_is_a_part_of_one(ratio: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1" in wrong(monkeypatch, OTEL_TRACES_SAMPLER_ARG=ratio)


def test_a_sampler_that_we_do_not_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert otel_sample_ratio() == 0.01
    assert "OTEL_TRACES_SAMPLER must be parentbased_traceidratio" in wrong(monkeypatch, OTEL_TRACES_SAMPLER="always_on")
