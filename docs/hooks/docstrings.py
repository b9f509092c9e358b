"""Prepare docstrings for mkdocstrings: sections ``Example:``, and tables of fields that have only a description."""

from __future__ import annotations

import ast
import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^( *)Example:(.*)\n(?=\1 +\S)", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Change docstrings before they are parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rename sections that Griffe knows as ``Examples:`` only, and add the section ``Attributes:`` to a model."""
        if obj.docstring is None:
            return
        obj.docstring.value = EXAMPLE.sub(r"\1Examples:\2\n", obj.docstring.value)
        if obj.is_class and "\nAttributes:" not in obj.docstring.value:
            fields = {
                name: _description(member)
                for name, member in obj.members.items()
                if member.is_attribute and not name.startswith("_") and not member.docstring and _annotated(member)
            }
            if fields:
                lines = [f"    {name}: {text or '-'}" for name, text in fields.items()]
                obj.docstring.value += "\n\nAttributes:\n" + "\n".join(lines)


def _annotated(member: Any) -> bool:
    return not member.is_alias and member.annotation is not None


def _description(member: Any) -> str:
    """Return the description in a field's ``Field(…)``; empty if there is none."""
    for argument in getattr(member.value, "arguments", ()):
        if getattr(argument, "name", "") == "description":
            try:
                return " ".join(str(ast.literal_eval(str(argument.value))).split())
            except (SyntaxError, ValueError):
                return ""
    return ""
