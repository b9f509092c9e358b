"""Let mkdocstrings render our sections ``Example:`` as code: Griffe knows them as ``Examples:`` only."""

from __future__ import annotations

import re
from typing import Any

import griffe

SECTION = re.compile(r"^( *)Example:(.*)\n(?=\1 +\S)", re.MULTILINE)


class ExampleSections(griffe.Extension):
    """Rename the sections before they are parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Change the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = SECTION.sub(r"\1Examples:\2\n", obj.docstring.value)
