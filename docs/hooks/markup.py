"""Write Markdown for the generated pages of the documentation site."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def cell(text: object) -> str:
    """Return a text as the cell of a table: one line, no column separator, no HTML tag."""
    line = " ".join(str(text).split())
    # Inside backticks a tag is text already; outside, <prefix> would vanish from the page.
    parts = re.split(r"(`[^`]*`)", line)
    parts = [part if part.startswith("`") else part.replace("<", "&lt;").replace("*", "\\*") for part in parts]
    return "".join(parts).replace("|", "\\|")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *([cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def paragraph(text: str) -> str:
    """Return a paragraph of plain text with the names of our variables, and double backticks, as code."""
    text = text.replace("``", "`")
    parts = re.split(r"(`[^`]*`)", text)
    coded = [
        part
        if part.startswith("`")
        else re.sub(r"\bFAULTLINE_(?:[A-Z][A-Z_]*|(?=…))…?", lambda found: f"`{found[0]}`", part.replace("<", "&lt;"))
        for part in parts
    ]
    return "".join(coded)
