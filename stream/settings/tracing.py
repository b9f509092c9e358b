"""Settings of traces: whether spans are exported, where to, and of how many micro-batches."""

from __future__ import annotations

import importlib.util
import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
HEADER = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*([!-~](?:[ -~]*[!-~])?)\s*")
"""One name=value; RFC 9110's characters, so that nothing of it can end the header."""


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


class TracingSettings(BaseSettings):
    """What ``stream.settings.Settings`` has for OpenTelemetry."""

    tracing: Literal["off", "otlp"] = Field(
        "off", description="otlp: spans of worker and trainer by OTLP over HTTP; needs the extra otel."
    )
    tracing_endpoint: str = Field(
        "http://localhost:4318/v1/traces", description="Where spans go: the whole URL of the collector's traces."
    )
    tracing_headers: SecretStr | None = Field(
        None, description="Headers for the collector, name=value, separated by commas (a token); never logged."
    )
    tracing_sample_ratio: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Part of the micro-batches that are traced although none of their messages asks for it; "
        "a message whose traceparent says sampled always is.",
    )

    @field_validator("tracing")
    @classmethod
    def _opentelemetry_is_installed(cls, value: str) -> str:
        if value != "off" and not all(_is_installed(module) for module in NEEDED):
            raise ValueError(
                "needs OpenTelemetry, which is not installed: pip install 'faultline[otel]' "
                "(in a checkout: .venv/bin/pip install -c constraints.txt -e '.[otel]')"
            )
        return value

    @field_validator("tracing_endpoint")
    @classmethod
    def _is_a_url(cls, value: str) -> str:
        example = "e.g. http://localhost:4318/v1/traces"
        try:
            url = urlsplit(value)
            # Reading the port checks it.
            wrong = url.scheme not in ("http", "https") or not url.hostname or url.port == 0 or not value.isprintable()
        except ValueError:
            wrong = True
        if wrong:
            raise ValueError(f"must be the URL of a collector, {example}")
        if url.username is not None:
            raise ValueError(f"must hold no password, {example}: FAULTLINE_TRACING_HEADERS is for secrets")
        return value

    @field_validator("tracing_headers")
    @classmethod
    def _are_headers(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not all(HEADER.fullmatch(part) for part in _parts(value)):
            raise ValueError("must be name=value, separated by commas, e.g. authorization=Bearer …")
        return value

    @property
    def tracing_header_values(self) -> dict[str, str]:
        """Headers for the collector by name."""
        matches = [HEADER.fullmatch(part) for part in _parts(self.tracing_headers)]
        return {match[1].lower(): match[2] for match in matches if match is not None}


def _parts(headers: SecretStr | None) -> list[str]:
    return [part for part in (headers.get_secret_value() if headers else "").split(",") if part.strip()]
