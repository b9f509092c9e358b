"""Generate the reference of settings from the settings classes."""

from __future__ import annotations

import re
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from markup import paragraph, table
from mkdocs.structure.files import File, Files
from pydantic import SecretStr
from pydantic.fields import FieldInfo

PAGE = "reference/settings.md"
UNITS = {
    "_ms": "ms",
    "_s": "s",
    "_s_p95": "s",
    "_mb": "MiB",
    "_bytes": "bytes",
    "_days": "days",
    "_hours": "hours",
    "_cycles": "cycles",
    "_cycles_p95": "cycles",
    "_per_hour": "1/hour",
    "_per_line_hour": "1/line-hour",
}
INTRODUCTION = """# Settings

Every setting is an environment variable, or a line `NAME=value` of a file `.env` in the working directory; the
environment takes precedence, and an option of a command takes precedence over both. A misspelt `FAULTLINE_` name is an
error that names the correct one. Secrets are never logged. `faultline doctor` prints the settings and what is wrong.
"""
GATE = """## Gate

Limits and margins of the [gate](../explanation/evaluation.md) that decides whether a candidate may replace the
champion. The recipe of a spec may have its own defaults.
"""
TRACES = """### Variables of OpenTelemetry

With `FAULTLINE_TRACING=otlp` these environment variables (not lines of `.env`) apply as well; see
[Traces](../how-to/operate.md#from-a-window-to-its-event-and-back).

| Variable | Meaning |
|---|---|
| `OTEL_EXPORTER_OTLP_ENDPOINT` | URL of the collector; `http://localhost:4318` when unset. |
| `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` | Full URL of the collector for traces; takes precedence over the one above. |
| `OTEL_EXPORTER_OTLP_HEADERS` | Headers for the collector, `name=value`, separated by commas; a secret. |
| `OTEL_TRACES_SAMPLER_ARG` | Share of the micro-batches that are traced without a sampled message; 0.01 when unset. |
| `OTEL_SERVICE_NAME` | Name of the service in the traces. |
"""


def fields() -> dict[str, list[tuple[str, FieldInfo]]]:
    """Return the variables and fields of all settings, by the heading of their part."""
    from stream.settings import PREFIX, Settings
    from stream.settings.kafka import KafkaSettings
    from stream.settings.registry import RegistrySettings
    from stream.settings.sidecar import SidecarSettings
    from stream.settings.tracing import TracingSettings
    from training.gate.thresholds import GateThresholds

    parts = {
        "Kafka": KafkaSettings,
        "Models on the topic": RegistrySettings,
        "Trainer": SidecarSettings,
        "Traces": TracingSettings,
    }
    elsewhere = {name for part in parts.values() for name in part.model_fields}
    own = [name for name in Settings.model_fields if name not in elsewhere]
    found = {"Topics, model, micro-batches, lifecycle": [(PREFIX + n.upper(), Settings.model_fields[n]) for n in own]}
    for heading, part in parts.items():
        found[heading] = [(PREFIX + name.upper(), Settings.model_fields[name]) for name in part.model_fields]
    gate = str(GateThresholds.model_config["env_prefix"])
    found["Gate"] = [(gate + name.upper(), field) for name, field in GateThresholds.model_fields.items()]
    return found


def unit(name: str) -> str:
    """Return the unit at the end of a setting's name; empty if there is none."""
    lower = name.lower()
    return next((UNITS[end] for end in sorted(UNITS, key=len, reverse=True) if lower.endswith(end)), "")


def _type(annotation: Any) -> str:
    if get_origin(annotation) in (Union, UnionType):
        return ", ".join(_type(part) for part in get_args(annotation) if part is not type(None))
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if hasattr(annotation, "__metadata__"):  # Annotated
        return _type(get_args(annotation)[0])
    if annotation is SecretStr:
        return "secret text"
    names = {"str": "text", "int": "integer", "float": "number", "bool": "`true`, `false`", "Path": "path"}
    return names.get(getattr(annotation, "__name__", ""), str(annotation))


def _bounds(field: FieldInfo) -> str:
    bounds = {
        name: f"{getattr(part, name):,}"
        for part in field.metadata
        for name in ("ge", "gt", "le", "lt")
        if getattr(part, name, None) is not None
    }
    if {"ge", "le"} <= set(bounds):
        return f"{bounds['ge']} to {bounds['le']}"
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    return ", ".join(f"{words[name]} {bound}" for name, bound in bounds.items())


def _default(field: FieldInfo) -> str:
    if field.default is None:
        return "unset"
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    return f"`{field.default:g}`" if isinstance(field.default, float) else f"`{field.default}`"


def _table(rows: list[tuple[str, FieldInfo]]) -> str:
    return table(
        ("Variable", "Type", "Default", "Unit", "Meaning"),
        (
            (
                f"`{name}`{{ #{name.lower()} }}",
                ", ".join(filter(None, (_type(field.annotation), _bounds(field)))),
                _default(field),
                unit(name),
                paragraph(re.sub(r"^…", "… ", field.description or "")),
            )
            for name, field in rows
        ),
    )


def page() -> str:
    """Return the whole page."""
    parts = [INTRODUCTION]
    for heading, rows in fields().items():
        parts.append(GATE if heading == "Gate" else f"## {heading}\n")
        parts.append(_table(rows))
        if heading == "Traces":
            parts.append(TRACES)
    return "\n".join(parts)


def on_files(files: Files, config: Any) -> Files:
    """Add the page to the site."""
    files.append(File.generated(config, PAGE, content=page()))
    return files
