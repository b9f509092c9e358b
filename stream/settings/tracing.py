"""Settings of traces: one switch; the details are OpenTelemetry's own variables, checked when it is on."""

from __future__ import annotations

import importlib.util
import os
import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
HEADER = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*([!-~](?:[ -~]*[!-~])?)\s*")
"""One name=value, in the characters of RFC 9110, so that no value can end the header."""
SAMPLE_RATIO = 0.01
"""Fraction of traced micro-batches unless OTEL_TRACES_SAMPLER_ARG is set: shows where time goes at almost no cost."""
SAMPLERS = ("", "parentbased_traceidratio")
"""Values of OTEL_TRACES_SAMPLER that describe Faultline's sampling; other samplers are not implemented."""
OTEL_NAMES = {
    "FAULTLINE_TRACING_ENDPOINT": "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "FAULTLINE_TRACING_HEADERS": "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "FAULTLINE_TRACING_SAMPLE_RATIO": "OTEL_TRACES_SAMPLER_ARG",
}
"""Settings of earlier versions, each with the OpenTelemetry variable that takes the same value."""


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _variable(name: str) -> tuple[str, str]:
    """Return the name and value of the variable in effect: the one for traces precedes the one for all signals."""
    of_traces = name.replace("OTLP_", "OTLP_TRACES_")
    return (of_traces, os.environ[of_traces]) if os.environ.get(of_traces) else (name, os.environ.get(name, ""))


def otel_endpoint() -> str:
    """Return the URL to which spans go."""
    name, value = _variable("OTEL_EXPORTER_OTLP_ENDPOINT")
    if "TRACES" in name:
        return value
    return (value or "http://localhost:4318").removesuffix("/") + "/v1/traces"


def otel_headers() -> str:
    """Return the headers for the collector, name=value, separated by commas; a secret."""
    return _variable("OTEL_EXPORTER_OTLP_HEADERS")[1]


def otel_sample_ratio() -> float:
    """Return the fraction of micro-batches that are traced although none of their messages requests it."""
    return float(os.environ.get("OTEL_TRACES_SAMPLER_ARG") or SAMPLE_RATIO)


class TracingSettings(BaseSettings):
    """The field of ``stream.settings.Settings`` for OpenTelemetry."""

    tracing: Literal["off", "otlp"] = Field(
        "off",
        description="otlp exports spans of workers and the trainer by OTLP over HTTP, to OTEL_EXPORTER_OTLP_ENDPOINT; "
        "OpenTelemetry's other variables apply as well. Needs the extra otel.",
    )

    @field_validator("tracing")
    @classmethod
    def _can_be_switched_on(cls, value: str) -> str:
        if value == "off":
            return value
        if not all(_is_installed(module) for module in NEEDED):
            raise ValueError(
                "needs OpenTelemetry, which is not installed: pip install 'faultline[otel]' "
                "(in a checkout: .venv/bin/pip install -c constraints.txt -e '.[otel]')"
            )
        _check_endpoint()
        _check_headers()
        _check_sampler()
        return value


def _check_endpoint() -> None:
    name, value = _variable("OTEL_EXPORTER_OTLP_ENDPOINT")
    example = "e.g. http://localhost:4318" + "/v1/traces" * ("TRACES" in name)
    try:
        url = urlsplit(value or otel_endpoint())
        # Reading the port raises an error if it is invalid.
        wrong = url.scheme not in ("http", "https") or not url.hostname or url.port == 0 or not value.isprintable()
    except ValueError:
        wrong = True
    if wrong:
        raise ValueError(f"{name} must be the URL of a collector, {example}")
    if url.username is not None:
        raise ValueError(f"{name} must not contain a password, {example}: put secrets into OTEL_EXPORTER_OTLP_HEADERS")


def _check_headers() -> None:
    name, value = _variable("OTEL_EXPORTER_OTLP_HEADERS")
    if not all(HEADER.fullmatch(part) for part in value.split(",") if part.strip()):
        raise ValueError(f"{name} must be name=value, separated by commas, e.g. authorization=Bearer …")


def _check_sampler() -> None:
    if os.environ.get("OTEL_TRACES_SAMPLER", "") not in SAMPLERS:
        raise ValueError(
            "OTEL_TRACES_SAMPLER must be parentbased_traceidratio or unset: messages whose traceparent is sampled are "
            "traced, and the fraction OTEL_TRACES_SAMPLER_ARG of the micro-batches"
        )
    try:
        wrong = not 0 <= otel_sample_ratio() <= 1
    except ValueError:
        wrong = True
    if wrong:
        raise ValueError("OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1")
