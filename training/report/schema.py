"""Generate the JSON Schema of ``report.json``: ``python -m training.report.schema docs/`` writes it to ``schemas/``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from training.report.data import ReportData

PATH = "schemas/report.json"


def schema_text() -> str:
    """Return the text of the schema file."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **ReportData.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m training.report.schema FOLDER")
    target = Path(sys.argv[1]) / PATH
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(schema_text(), encoding="utf-8")
