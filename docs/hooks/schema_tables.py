"""Write a JSON Schema as tables of Markdown."""

from __future__ import annotations

from typing import Any

from markup import paragraph, table

BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "maxLength": "at most {} characters",
}
HUGE = 2**53
"""Bounds beyond the integers of JSON's numbers only keep 64 bits; they say nothing to a reader."""


def type_of(schema: dict[str, Any], anchor: str) -> str:
    """Return the type of a value for people; a reference becomes a link to its heading.

    Args:
        schema: JSON Schema of the value.
        anchor: begins the anchors of the headings of other schemas.
    """
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{anchor}{name.lower()})"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(type_of(part, anchor) for part in schema[key]))
    kind = schema.get("type", "any")
    if kind == "array":
        items = schema.get("items")
        return f"list of {type_of(items, anchor)}" if items else "list"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {type_of(schema['additionalProperties'], anchor)}"
    if schema.get("format") in ("date-time", "binary", "base64url"):
        kind = {"date-time": "time, ISO 8601", "binary": "bytes", "base64url": "bytes"}[schema["format"]]
    bounds = [text.format(schema[key]) for key, text in BOUNDS.items() if abs(schema.get(key, HUGE)) < HUGE]
    return ", ".join([kind, *bounds])


def fields_table(schema: dict[str, Any], anchor: str) -> str:
    """Return the fields of an object: name, type, whether required, meaning."""
    required = schema.get("required", ())
    rows = []
    for name, field in schema.get("properties", {}).items():
        default = field.get("default")
        text = field.get("description", "")
        if default not in (None, [], {}, ""):
            text = f"{text} Default: `{str(default).lower() if isinstance(default, bool) else default}`.".strip()
        rows.append((f"`{name}`", type_of(field, anchor), "yes" if name in required else "", paragraph(text)))
    return table(("Field", "Type", "Required", "Meaning"), rows)
