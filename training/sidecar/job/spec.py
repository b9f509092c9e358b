"""The interface between the sidecar and the child process of a retraining: files in one folder, lines on a pipe.

Every file appears whole, by rename. The files that exist show how far a retraining has come.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from model.frozen import FrozenModel

JOB_FILE, OUTCOME = "order.json", "outcome.json"
"""The job specification, and the gate's verdict on the candidate."""
CANDIDATE, CHAMPION = "candidate.safetensors", "champion.safetensors"
FEEDBACK, WORK, REPORT = "field", "work", "report"
"""Folders of the labelled windows, the checkpoints and the report."""
PAGE = "report.html"
"""The report for people, in REPORT."""


class JobSpec(FrozenModel):
    """The job of the child; written before it starts and never changed."""

    run_id: str
    spec: str = Field(description="Name of a spec that ships with a domain, which has a recipe for it.")
    epochs: int | None = Field(description="Those of the recipe where null.")
    episodes: int | None
    seed: int | None
    warm_start: bool = Field(description="Start from the champion's weights.")
    data: Path | None = Field(description="What the recipe learns from or evaluates on, where it reads a file.")
    evaluation_episodes: int
    evaluation_lines: int
    nice: int
    memory_mb: int | None = Field(
        None, description="MiB that the child may take; where the recipe takes more, fewer episodes are simulated."
    )


class Outcome(FrozenModel):
    """The gate's verdict on the candidate in the same folder."""

    model_id: str
    champion_id: str | None = Field(description="Null for the first model of a spec.")
    passed: bool
    failed_criteria: list[str]
    metrics: dict[str, float]
    note: str = Field("", description="What was done otherwise than configured, for people.")


class JobProgress(FrozenModel):
    """A line that the child prints: its progress, or the reason for giving up."""

    progress: float = Field(0.0, ge=0, le=1)
    stage: str = ""
    model_id: str | None = None
    failed: str | None = None
