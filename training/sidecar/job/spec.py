"""What the trainer and the child process of a retraining tell each other: files in one folder, lines on a pipe.

Every file appears whole, by rename. Which of them are there says how far a retraining has come.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

JOB_FILE, OUTCOME = "order.json", "outcome.json"
CANDIDATE, CHAMPION = "candidate.safetensors", "champion.safetensors"
FIELD, WORK, REPORT = "field", "work", "report"
PAGE = "report.html"
"""The report for people, in REPORT."""

SPECS = ("line", "instant")
"""There are recipes for these."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JobSpec(_Model):
    """What is to be done; written before the child starts and never changed."""

    run_id: str
    spec: Literal["line", "instant"]
    epochs: int | None = Field(description="Those of the recipe where null.")
    episodes: int | None
    seed: int | None
    warm_start: bool = Field(description="Go on from the champion.")
    data: Path | None = Field(description="classData.csv, for spec instant.")
    evaluation_episodes: int
    evaluation_lines: int
    nice: int


class Outcome(_Model):
    """The gate's word on the candidate that lies beside it."""

    model_id: str
    champion_id: str | None = Field(description="Null for the first model of a spec.")
    passed: bool
    failed_criteria: list[str]
    metrics: dict[str, float]


class JobProgress(_Model):
    """A line of the child: how far it is, or why it gives up."""

    progress: float = Field(0.0, ge=0, le=1)
    stage: str = ""
    model_id: str | None = None
    failed: str | None = None
