"""The contract as documents: JSON Schema for every value, AsyncAPI 3 for the topics. Written by this module alone.

``python -m stream.asyncapi docs/`` writes them; a test fails when the committed ones differ from the models.
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
    HEADER_PREFIX,
    JSON,
    MAX_LINE_BYTES,
    MSGPACK,
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
    # Validation is what we take, serialisation what we send.
    (WindowMessage, "validation"),
    (FaultEvent, "serialization"),
    (WindowClasses, "serialization"),
    (DeadLetterHeaders, "serialization"),
    (WindowLabel, "validation"),
    (RetrainRequest, "validation"),
    (TrainingReport, "serialization"),
)
"""Of ``FaultEvent`` the domain's own class is described, under this name."""
_TEXT: dict[str, Any] = {"type": "string"}
_KEY = {"type": "string", "maxLength": MAX_LINE_BYTES, "description": "Id of the line, UTF-8."}
_CLOUD_EVENT_HEADERS: dict[str, dict[str, Any]] = {
    HEADER_CONTENT_TYPE: {"const": JSON},
    "ce_specversion": {"const": "1.0"},
    "ce_id": {**_TEXT, "description": "The event's id: equal ids are repeats of one event."},
    "ce_type": {"enum": [f"faultline.fault.{state}" for state in ("onset", "update", "clear")]},
    "ce_source": {"const": "/faultline/worker"},
    "ce_subject": {**_TEXT, "description": "Id of the line."},
    "ce_time": {**_TEXT, "format": "date-time", "description": "Time of detection, UTC."},
}
_TRACE_HEADERS: dict[str, dict[str, Any]] = {
    TRACEPARENT: {
        **_TEXT,
        "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}",
        "description": "W3C trace context; what comes of a record carries on its trace, where FAULTLINE_TRACING is on. "
        "A broken one counts as none.",
    },
    TRACESTATE: {**_TEXT, "description": "Its second part."},
}
_MODEL_HEADERS: dict[str, dict[str, Any]] = {
    HEADER_MODEL_ID: {**_TEXT, "description": "Id of the model."},
    HEADER_AT: {**_TEXT, "format": "date-time"},
    HEADER_BY: {**_TEXT, "description": "Who promoted it."},
    HEADER_REASON: {**_TEXT, "description": "For people."},
    HEADER_SIGNATURE: {**_TEXT, "description": "Ed25519, base64, of faultline-model-v1 NUL key NUL value."},
    HEADER_KEY_ID: {**_TEXT, "description": "Which key signed."},
}


def json_schemas() -> dict[str, dict[str, Any]]:
    """Return a self-contained JSON Schema (2020-12) per value, by the name of its model."""
    schemas = {}
    for (known, _), (model, mode) in zip(VALUES, _values(_domain()), strict=True):
        schema = _named(known, model.model_json_schema(mode=mode))
        schemas[known.__name__] = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return schemas


def _domain() -> Domain:
    return domain_of(load_spec(Settings.model_construct().spec))


def _values(domain: Domain) -> list[tuple[type[Message], Mode]]:
    """Return ``VALUES`` with the domain's own class of events."""
    return [(event_model(domain) if model is FaultEvent else model, mode) for model, mode in VALUES]


def _named(model: type[Message], schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a model or of a domain's subclass under the model's name."""
    return {**schema, "description": inspect.getdoc(model), "title": model.__name__}


def asyncapi_document() -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document of the topics that others write or read, under the default settings' names."""
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
            "description": f"Windows of {domain.title} in, fault events out. Delivery is at least once: a repeat has "
            "the id of its first. Names are those of the default settings.",
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
            "Windows of all lines; all of one line on one partition.",
            "windowsMsgpack",
            "windowsJson",
        ),
        "faults": _channel(
            settings.topic_faults("{type}"),
            "Fault events by type. An event that changes the type goes to the former type's topic as well.",
            "faultEvent",
            parameters={"type": kind},
        ),
        "windowClasses": _channel(
            settings.topic_window_classes,
            "Classes of every window, where switched on (FAULTLINE_WINDOW_CLASSES).",
            "windowClasses",
        ),
        "deadLetters": _channel(
            settings.topic_dead_letters, "Records that cannot be judged, with the cause in headers.", "deadLetter"
        ),
        "windowLabels": _channel(settings.topic_labels, "Verdicts of operators on windows.", "windowLabel"),
        "retrainRequests": _channel(settings.topic_retrain, "Requests for a retraining.", "retrainRequest"),
        "trainingReports": _channel(
            settings.topic_reports, "Progress and verdicts of retrainings: their audit trail.", "trainingReport"
        ),
        "models": _channel(
            settings.topic_models, "Compacted: the model of every spec, its shadow, and the models before it.", "model"
        ),
    }


def _operations() -> dict[str, Any]:
    def operation(action: str, channel: str, summary: str) -> dict[str, Any]:
        return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}

    return {
        "judgeWindows": operation("receive", "windows", "The worker judges windows."),
        "publishFaults": operation("send", "faults", "The worker tells of an episode's onset, update or clear."),
        "publishClasses": operation("send", "windowClasses", "The worker tells the class of every window."),
        "deadLetter": operation("send", "deadLetters", "The worker sets a guilty record aside."),
        "takeLabel": operation("receive", "windowLabels", "The trainer joins a verdict to the windows it keeps."),
        "takeRequest": operation("receive", "retrainRequests", "The trainer retrains, one request after another."),
        "promoteModel": operation("send", "models", "Who promotes puts a model into use, or takes it back by null."),
        "useModel": operation("receive", "models", "The worker verifies a model and swaps it in."),
        "tellTraining": operation("send", "trainingReports", "The trainer tells how a retraining goes and ends."),
    }


def _message(title: str, content_type: str | None, payload: dict[str, Any], **more: Any) -> dict[str, Any]:
    typed = {} if content_type is None else {"contentType": content_type}
    return {"title": title, **typed, "payload": payload, "bindings": {"kafka": {"key": _KEY}}, **more}


def _keyed(description: str) -> dict[str, Any]:
    """Return the binding of a message whose key is not a line's id."""
    return {"kafka": {"key": {**_TEXT, "description": description}}}


def _headers(properties: dict[str, dict[str, Any]], *, traced: bool = True) -> dict[str, Any]:
    optional = _TRACE_HEADERS if traced else {}
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
            headers=_headers({HEADER_CONTENT_TYPE: {"const": MSGPACK}}),
        ),
        "windowsJson": _message(
            "Windows in JSON", JSON, value(WindowMessage), headers=_headers({HEADER_CONTENT_TYPE: {"const": JSON}})
        ),
        "faultEvent": _message("Fault event", JSON, value(FaultEvent), headers=_headers(_CLOUD_EVENT_HEADERS)),
        "windowClasses": _message(
            "Classes of windows",
            MSGPACK,
            value(WindowClasses),
            headers=_headers({HEADER_CONTENT_TYPE: {"const": MSGPACK}}),
        ),
        "deadLetter": _message(
            "Dead letter",
            None,
            {"description": "As received; null where only referred to."},
            headers=_headers(causes, traced=False),
        ),
        "windowLabel": _message("Verdict on windows", JSON, value(WindowLabel)),
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
            {"description": "The artefact: safetensors with a manifest. Null takes it back."},
            headers={"type": "object", "properties": _MODEL_HEADERS},
            bindings=_keyed("<spec> the model in use, <spec>/shadow beside it, <spec>/archive/<model id> before it."),
        ),
        "trainingReport": _message(
            "Report of a retraining",
            JSON,
            value(TrainingReport),
            headers=_headers({}),
            bindings=_keyed("Id of the model, before there is one of the first request."),
        ),
    }


def documents() -> dict[str, str]:
    """Return the text of every document by its path below the documents' folder."""
    texts = {"asyncapi.json": asyncapi_document()}
    texts |= {f"schemas/{name}.json": schema for name, schema in json_schemas().items()}
    return {path: json.dumps(document, indent=2) + "\n" for path, document in texts.items()}


def write(folder: Path) -> None:
    """Write the documents below a folder."""
    for path, text in documents().items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m stream.asyncapi FOLDER")
    write(Path(sys.argv[1]))
