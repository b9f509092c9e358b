"""Generate the reference of ``report.json`` from the model that writes it."""

from __future__ import annotations

from typing import Any

from markup import paragraph
from mkdocs.structure.files import File, Files
from schema_tables import fields_table

PAGE = "reference/report.md"
INTRODUCTION = """# Report

`faultline report` and every retraining write three files: `report.md` and `report.html` for people, `report.json` for
programs. [The report of the shipped model](../reports/line/report.md) is an example. These are the fields of
`report.json`; its [JSON Schema](../schemas/report.json) is for programs.

Scores are fractions from 0 to 1 unless the name states another unit. *Merged* scores count classes that the spec calls
equivalent as one.

## Report
"""


def page() -> str:
    """Return the whole page."""
    from training.report.data import ReportData

    schema = ReportData.model_json_schema()
    parts = [INTRODUCTION, fields_table(schema, "report-")]
    for name, definition in sorted(schema.get("$defs", {}).items()):
        parts.append(f"### {name} {{ #report-{name.lower()} }}\n")
        parts.append(paragraph(definition.get("description", "")) + "\n")
        parts.append(fields_table(definition, "report-"))
    return "\n".join(parts)


def on_files(files: Files, config: Any) -> Files:
    """Add the page to the site."""
    files.append(File.generated(config, PAGE, content=page()))
    return files
