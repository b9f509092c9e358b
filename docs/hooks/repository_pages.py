"""Show files of the repository's root on the site, with their links turned to pages of the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
PAGES = {"ARCHITECTURE.md": "architecture.md", "CHANGELOG.md": "changelog.md"}


def _link(found: re.Match[str]) -> str:
    text, target = found[1], found[2]
    if "://" in target or target.startswith("#"):
        return found[0]
    path, _, anchor = target.partition("#")
    if path in PAGES:
        path = PAGES[path]
    elif path.startswith("docs/"):
        path = path.removeprefix("docs/")
    else:  # a file that the site does not have
        return text
    return f"[{text}]({path}{'#' + anchor if anchor else ''})"


def on_files(files: Files, config: Any) -> Files:
    """Add the pages to the site."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=re.sub(r"\[([^\]]+)\]\(([^)]+)\)", _link, text)))
    return files
