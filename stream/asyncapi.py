"""Documents of the contract: JSON Schema for every value, AsyncAPI 3 for the topics.

``python -m stream.asyncapi docs/`` writes them; a test fails if the committed documents differ from the models.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any, Literal

from pydantic.json_schema import models_json_schema

from model.domain import Domain, domain_of
from model.spec import load_spec
from stream.contract import (
    HEADER_CONTENT_TYPE,
    HEADER_ORIGIN,
    HEADER_PREFIX,
    JSON,
    MAX_LINE_BYTES,
    MSGPACK,
    SIMULATED,
    DeadLetterHeaders,
    FaultEvent,
    Message,
    RetrainRequest,
    TrainingReport,
    WindowClasses,
    WindowLabel,
    WindowMessage,
)
from stream.detection.events import event_model
from stream.registry.records import (
    HEADER_AT,
    HEADER_BY,
    HEADER_KEY_ID,
    HEADER_MODEL_ID,
    HEADER_REASON,
    HEADER_SIGNATURE,
)
from stream.settings import Settings
from stream.telemetry.tracing import TRACEPARENT, TRACESTATE

Mode = Literal["validation", "serialization"]
VALUES: tuple[tuple[type[Message], Mode], ...] = (
    # "validation" describes messages that Faultline reads, "serialization" messages that it sends.
    (WindowMessage, "validation"),
    (FaultEvent, "serialization"),
    (WindowClasses, "serialization"),
    (DeadLetterHeaders, "serialization"),
    (WindowLabel, "validation"),
    (RetrainRequest, "validation"),
    (TrainingReport, "serialization"),
)
"""Models of the values. ``FaultEvent`` stands for the domain's subclass, which is described under this name."""
_TEXT: dict[str, Any] = {"type": "string"}
_KEY = {"type": "string", "maxLength": MAX_LINE_BYTES, "description": "Id of the line, UTF-8."}
_CLOUD_EVENT_HEADERS: dict[str, dict[str, Any]] = {
    HEADER_CONTENT_TYPE: {"const": JSON},
    "ce_specversion": {"const": "1.0"},
    "ce_id": {**_TEXT, "description": "Id of the event; records with the same id are repeats."},
    "ce_type": {"enum": [f"faultline.fault.{state}" for state in ("onset", "update", "clear")]},
    "ce_source": {"const": "/faultline/worker"},
    "ce_subject": {**_TEXT, "description": "Id of the line."},
    "ce_time": {**_TEXT, "format": "date-time", "description": "Time of detection, UTC."},
}
_ORIGIN_HEADER: dict[str, dict[str, Any]] = {
    HEADER_ORIGIN: {
        "const": SIMULATED.decode(),
        "description": "Marks windows of a simulator. Their fault events carry the same header, and the trainer does "
        "not store them. Absent for windows of a real line.",
    },
}
_TRACE_HEADERS: dict[str, dict[str, Any]] = {
    TRACEPARENT: {
        **_TEXT,
        "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}",
        "description": "W3C trace context. With FAULTLINE_TRACING on, records that result from this one continue its "
        "trace. An invalid context is ignored.",
    },
    TRACESTATE: {**_TEXT, "description": "Vendor-specific part of the W3C trace context."},
}
_MODEL_HEADERS: dict[str, dict[str, Any]] = {
    HEADER_MODEL_ID: {**_TEXT, "description": "Id of the model."},
    HEADER_AT: {**_TEXT, "format": "date-time"},
    HEADER_BY: {**_TEXT, "description": "Name of the person or program that promoted the model."},
    HEADER_REASON: {**_TEXT, "description": "Reason of the promotion, for people."},
    HEADER_SIGNATURE: {
        **_TEXT,
        "description": "Ed25519 signature in base64 over faultline-model-v1, NUL, key, NUL, value.",
    },
    HEADER_KEY_ID: {**_TEXT, "description": "Id of the key that signed."},
}


def json_schemas() -> dict[str, dict[str, Any]]:
    """Return a self-contained JSON Schema (2020-12) for every value, by the name of its model."""
    schemas = {}
    for (known, _), (model, mode) in zip(VALUES, _values(_domain()), strict=True):
        schema = _named(known, model.model_json_schema(mode=mode))
        schemas[known.__name__] = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return schemas


def _domain() -> Domain:
    return domain_of(load_spec(Settings.model_construct().spec))


def _values(domain: Domain) -> list[tuple[type[Message], Mode]]:
    """Return ``VALUES`` with the domain's own event class."""
    return [(event_model(domain) if model is FaultEvent else model, mode) for model, mode in VALUES]


def _named(model: type[Message], schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a model or of a domain's subclass under the model's name."""
    return {**schema, "description": inspect.getdoc(model), "title": model.__name__}


def asyncapi_document() -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document of the public topics, under the names of the default settings."""
    settings = Settings.model_construct()
    domain = _domain()
    _, definitions = models_json_schema(_values(domain), ref_template="#/components/schemas/{model}")
    schemas = definitions["$defs"]
    schemas["FaultEvent"] = _named(FaultEvent, schemas.pop(event_model(domain).__name__))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Faultline",
            "version": "1",
            "description": f"Faultline reads windows of {domain.title} and publishes fault events. Delivery is at "
            "least once; a repeated event keeps its id. Topic names are those of the default settings.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": JSON,
        "channels": _channels(settings),
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": dict(sorted(schemas.items()))},
    }


def _channel(address: str, description: str, *messages: str, **more: Any) -> dict[str, Any]:
    return {
        "address": address,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        **more,
    }


def _channels(settings: Settings) -> dict[str, Any]:
    kind = {"description": "Type of the fault.", "enum": list(settings.fault_types)}
    return {
        "windows": _channel(
            settings.topic_windows,
            "Windows of all lines. All windows of a line are on one partition.",
            "windowsMsgpack",
            "windowsJson",
        ),
        "faults": _channel(
            settings.topic_faults("{type}"),
            "Fault events by type. An event that changes the type of an episode is also sent to the topic of the "
            "former type.",
            "faultEvent",
            parameters={"type": kind},
        ),
        "windowClasses": _channel(
            settings.topic_window_classes,
            "Classes of every window, if FAULTLINE_WINDOW_CLASSES is on.",
            "windowClasses",
        ),
        "deadLetters": _channel(
            settings.topic_dead_letters,
            "Records that cannot be classified, with the reason in their headers.",
            "deadLetter",
        ),
        "windowLabels": _channel(settings.topic_labels, "Labels that operators give to windows.", "windowLabel"),
        "retrainRequests": _channel(settings.topic_retrain, "Requests for a retraining.", "retrainRequest"),
        "trainingReports": _channel(
            settings.topic_reports, "Progress and results of retrainings: their audit trail.", "trainingReport"
        ),
        "models": _channel(
            settings.topic_models,
            "Compacted: for every spec the model in use, its shadow candidate and the earlier models.",
            "model",
        ),
    }


def _operations() -> dict[str, Any]:
    def operation(action: str, channel: str, summary: str) -> dict[str, Any]:
        return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}

    return {
        "classifyWindows": operation("receive", "windows", "The worker classifies windows."),
        "publishFaults": operation(
            "send", "faults", "The worker publishes the onset, updates and clear of an episode."
        ),
        "publishClasses": operation("send", "windowClasses", "The worker publishes the class of every window."),
        "deadLetter": operation(
            "send", "deadLetters", "The worker publishes a record that it cannot classify as a dead letter."
        ),
        "readLabel": operation("receive", "windowLabels", "The trainer applies a label to its stored windows."),
        "readRequest": operation("receive", "retrainRequests", "The trainer serves requests one after another."),
        "promoteModel": operation(
            "send", "models", "A user or the trainer promotes a model, or withdraws it by a null value."
        ),
        "useModel": operation("receive", "models", "The worker verifies a model and swaps it in."),
        "publishReport": operation(
            "send", "trainingReports", "The trainer reports the progress and result of a retraining."
        ),
    }


def _message(title: str, content_type: str | None, payload: dict[str, Any], **more: Any) -> dict[str, Any]:
    typed = {} if content_type is None else {"contentType": content_type}
    return {"title": title, **typed, "payload": payload, "bindings": {"kafka": {"key": _KEY}}, **more}


def _keyed(description: str) -> dict[str, Any]:
    """Return the Kafka binding of a message whose key is not a line's id."""
    return {"kafka": {"key": {**_TEXT, "description": description}}}


def _headers(properties: dict[str, dict[str, Any]], *, traced: bool = True, simulated: bool = False) -> dict[str, Any]:
    optional = {**(_ORIGIN_HEADER if simulated else {}), **(_TRACE_HEADERS if traced else {})}
    return {"type": "object", "properties": {**properties, **optional}, "required": list(properties)}


def _messages() -> dict[str, Any]:
    def value(model: type[Message]) -> dict[str, Any]:
        return {"$ref": f"#/components/schemas/{model.__name__}"}

    causes = {
        f"{HEADER_PREFIX}error.{name.replace('_', '.')}": {**_TEXT, "description": field.description or name}
        for name, field in DeadLetterHeaders.model_fields.items()
    }
    return {
        "windowsMsgpack": _message(
            "Windows in MessagePack",
            MSGPACK,
            value(WindowMessage),
            headers=_headers({HEADER_CONTENT_TYPE: {"const": MSGPACK}}, simulated=True),
        ),
        "windowsJson": _message(
            "Windows in JSON",
            JSON,
            value(WindowMessage),
            headers=_headers({HEADER_CONTENT_TYPE: {"const": JSON}}, simulated=True),
        ),
        "faultEvent": _message(
            "Fault event", JSON, value(FaultEvent), headers=_headers(_CLOUD_EVENT_HEADERS, simulated=True)
        ),
        "windowClasses": _message(
            "Classes of windows",
            MSGPACK,
            value(WindowClasses),
            headers=_headers({HEADER_CONTENT_TYPE: {"const": MSGPACK}}),
        ),
        "deadLetter": _message(
            "Dead letter",
            None,
            {"description": "Value as received; null if the record was too large to copy."},
            headers=_headers(causes, traced=False),
        ),
        "windowLabel": _message("Label for windows", JSON, value(WindowLabel)),
        "retrainRequest": _message(
            "Request for a retraining",
            JSON,
            value(RetrainRequest),
            headers=_headers({}),
            bindings=_keyed("Name of the signal spec."),
        ),
        "model": _message(
            "Model",
            "application/octet-stream",
            {"description": "Artefact: safetensors with a manifest. Null withdraws the model."},
            headers={"type": "object", "properties": _MODEL_HEADERS},
            bindings=_keyed(
                "<spec> for the model in use, <spec>/shadow for the candidate beside it, <spec>/archive/<model id> "
                "for every promoted model."
            ),
        ),
        "trainingReport": _message(
            "Report of a retraining",
            JSON,
            value(TrainingReport),
            headers=_headers({}),
            bindings=_keyed("Id of the model, or of the first request until there is a model."),
        ),
    }


def documents() -> dict[str, str]:
    """Return the text of every document, by its path within the documents' folder."""
    texts = {"asyncapi.json": asyncapi_document()}
    texts |= {f"schemas/{name}.json": schema for name, schema in json_schemas().items()}
    return {path: json.dumps(document, indent=2) + "\n" for path, document in texts.items()}


def write(folder: Path) -> None:
    """Write the documents into a folder."""
    for path, text in documents().items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m stream.asyncapi FOLDER")
    write(Path(sys.argv[1]))
