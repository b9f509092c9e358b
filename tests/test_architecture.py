"""The tree printed in ARCHITECTURE.md is the tree."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("model", "stream", "training", "domains", "faultline", "benchmarks", "examples")


def test_every_folder_of_code_is_in_the_printed_tree_and_no_other() -> None:
    text = (REPOSITORY / "ARCHITECTURE.md").read_text("utf-8")
    printed = re.findall(r"^([a-z_/]+)/ ", text.split("## The tree")[1].split("```")[1], re.MULTILINE)
    folders = {
        file.parent.relative_to(REPOSITORY).as_posix()
        for package in PACKAGES
        for file in (REPOSITORY / package).rglob("*.py")
    }
    assert set(printed) == folders - {"domains"}
    assert len(printed) == len(set(printed))
