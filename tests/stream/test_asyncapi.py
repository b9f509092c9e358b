"""The committed documents of the contract agree with the models."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from domains.powerline.events import PowerLineFaultEvent
from stream.asyncapi import asyncapi_document, documents, json_schemas, write
from stream.contract import SourceRecord, cloud_event_headers
from stream.dead_letters.publish import dead_letter
from stream.detection.decode import DeadRecord
from stream.kafka.topics import topic_specs
from stream.settings import Settings
from stream.telemetry.tracing import trace_headers
from tests.stream.doubles import record
from tests.stream.telemetry.contexts import GATEWAY

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = asyncapi_document()


def test_the_committed_documents_are_those_of_the_models() -> None:
    hint = "run `python -m stream.asyncapi docs/` and commit what it writes"
    assert {path: (DOCS / path).read_text() for path in documents() if (DOCS / path).exists()} == documents(), hint
    found = {path.name for path in (DOCS / "schemas").iterdir()} - {"report.json"}  # of training.report.schema
    assert found == {f"{name}.json" for name in json_schemas()}


def test_what_is_written_is_what_is_documented(tmp_path: Path) -> None:
    write(tmp_path)
    assert {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*.json")} == documents()


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


@pytest.mark.parametrize("name", ["asyncapi", *json_schemas()])
def test_every_reference_leads_somewhere(name: str) -> None:
    document = DOCUMENT if name == "asyncapi" else json_schemas()[name]
    for reference in references(document):
        assert reference.startswith("#/")
        node = document
        for part in reference[2:].split("/"):
            node = node[part]


def test_the_document_has_the_shape_of_asyncapi_three() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(DOCUMENT["info"])
    for channel in DOCUMENT["channels"].values():
        assert channel["address"]
        assert channel["messages"]
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] in {"send", "receive"}
        assert operation["channel"]["$ref"].removeprefix("#/channels/") in DOCUMENT["channels"]
    used = {ref for channel in DOCUMENT["channels"].values() for ref in references(channel["messages"])}
    assert used == {f"#/components/messages/{name}" for name in DOCUMENT["components"]["messages"]}
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT


def test_every_address_is_a_topic_of_the_catalogue() -> None:
    topics = {plan.name for plan in topic_specs(Settings(_env_file=None))}
    for channel in DOCUMENT["channels"].values():
        kinds = channel.get("parameters", {}).get("type", {}).get("enum", [""])
        assert {channel["address"].replace("{type}", kind) for kind in kinds} <= topics


def headers_of(message: str) -> set[str]:
    return set(DOCUMENT["components"]["messages"][message]["headers"]["required"])


def test_the_headers_of_an_event_are_those_documented() -> None:
    event = PowerLineFaultEvent(
        event_id="e",
        episode_id="p",
        line="l",
        state="onset",
        fault_class="AG",
        fault_type="lg",
        phases="A",
        ground=True,
        ground_probability=1.0,
        confidence=1.0,
        probabilities={},
        inception_ns=0,
        detection_ns=0,
        spec="line",
        model_id="m",
        sequence=0,
        source=SourceRecord(topic="t", partition=0, offset=0),
    )
    sent = dict(cloud_event_headers(event, "2026-01-01T00:00:00+00:00"))
    assert set(sent) == headers_of("faultEvent")
    documented = DOCUMENT["components"]["messages"]["faultEvent"]["headers"]["properties"]
    assert sent["ce_type"].decode() in documented["ce_type"]["enum"]
    for name in ("content-type", "ce_specversion", "ce_source"):
        assert sent[name].decode() == documented[name]["const"]


def test_the_headers_of_a_dead_letter_are_those_documented() -> None:
    out = dead_letter(DeadRecord(record(b"l", b"", headers=[]), "empty", "why"), "dlq")
    assert {name for name, _ in out.headers} == headers_of("deadLetter")


@pytest.mark.parametrize(
    "message", ["windowsMsgpack", "windowsJson", "faultEvent", "windowClasses", "retrainRequest", "trainingReport"]
)
def test_the_headers_of_a_trace_are_those_documented_and_nobody_has_to_send_them(message: str) -> None:
    headers = DOCUMENT["components"]["messages"][message]["headers"]
    sent = dict(trace_headers(GATEWAY))
    assert set(sent) <= set(headers["properties"])
    assert not set(sent) & set(headers["required"])
    assert re.match(headers["properties"]["traceparent"]["pattern"], sent["traceparent"].decode())
