"""Generate the reference of the contract from the models that the code publishes and reads."""

from __future__ import annotations

from typing import Any

from markup import paragraph, table
from mkdocs.structure.files import File, Files
from schema_tables import fields_table

PAGE = "reference/contract.md"
HOUR_MS = 3_600_000
INTRODUCTION = """# Contract

This page lists the topics and the messages on each of them. Names, partitions and sizes are those of the
[default settings](settings.md).
The contract is also published for programs: [AsyncAPI 3](../asyncapi.json), and a JSON Schema (2020-12) per message.
`python -m stream.asyncapi docs/` writes both from the code.

Delivery is [at least once](../explanation/delivery.md): a repeated event has the `event_id` of the first, so a
consumer that remembers ids sees every event once. Events carry the headers of CloudEvents 1.0, binary mode.
"""
STATES = """`line-states` is internal: its values belong to the workers and change between versions. Its key is the
consumer group and the line's id.
"""


def _kept(topic: Any) -> str:
    if topic.compacted:
        return "newest record of each key"
    if topic.retention_ms < 0:
        return "for ever"
    hours = topic.retention_ms // HOUR_MS
    return f"{hours // 24} days" if hours > 24 else f"{hours} hours"


def _topics(settings: Any) -> str:
    from stream.kafka.topics import topic_specs

    rows = [
        (f"`{topic.name}`", paragraph(topic.purpose), topic.partitions, _kept(topic)) for topic in topic_specs(settings)
    ]
    return table(("Topic", "Holds", "Partitions", "Kept"), rows)


def _channel(channel: dict[str, Any], components: dict[str, Any]) -> str:
    parts = [f"## `{channel['address'].replace('{type}', '<type>')}`\n", paragraph(channel["description"]) + "\n"]
    kinds = channel.get("parameters", {}).get("type", {}).get("enum")
    if kinds:
        parts.append("Types: " + ", ".join(f"`{kind}`" for kind in kinds) + ".\n")
    for reference in channel["messages"].values():
        message = components["messages"][reference["$ref"].rsplit("/", 1)[-1]]
        parts.append(f"### {message['title']}\n")
        payload = message["payload"]
        if "$ref" in payload:
            name = payload["$ref"].rsplit("/", 1)[-1]
            value = f"[{name}](#schema-{name.lower()})"
        else:
            value = paragraph(payload["description"])
        key = message["bindings"]["kafka"]["key"]["description"]
        rows = [("key", paragraph(key)), ("value", value)]
        if "contentType" in message:
            rows.append(("content type", f"`{message['contentType']}`"))
        parts.append(table(("Part", "Content"), rows))
        headers = message.get("headers")
        if headers:
            parts.append("Headers:\n\n" + fields_table(headers, "schema-"))
    return "\n".join(parts)


def page() -> str:
    """Return the whole page."""
    from stream.asyncapi import asyncapi_document, json_schemas
    from stream.settings import Settings

    document = asyncapi_document()
    components = document["components"]
    parts = [INTRODUCTION, "## Topics\n", _topics(Settings.model_construct()), STATES]
    parts += [_channel(channel, components) for channel in document["channels"].values()]
    parts.append("## Messages\n")
    files = json_schemas()
    for name, schema in components["schemas"].items():
        parts.append(f"### {name} {{ #schema-{name.lower()} }}\n")
        parts.append(paragraph(schema.get("description", "")) + "\n")
        if name in files:
            parts.append(f"[JSON Schema](../schemas/{name}.json)\n")
        parts.append(fields_table(schema, "schema-"))
    return "\n".join(parts)


def on_files(files: Files, config: Any) -> Files:
    """Add the page to the site."""
    files.append(File.generated(config, PAGE, content=page()))
    return files
