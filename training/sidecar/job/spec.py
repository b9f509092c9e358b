"""Define the interface between the sidecar and the child process of a retraining: files in a folder, lines on a pipe.

Every file is renamed into place once it is complete. The existing files show how far a retraining has come.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from model.frozen import FrozenModel

JOB_FILE, OUTCOME = "order.json", "outcome.json"
"""Files of the job specification and of the gate's verdict on the candidate."""
CANDIDATE, CHAMPION = "candidate.safetensors", "champion.safetensors"
FEEDBACK, WORK, REPORT = "field", "work", "report"
"""Folders of the labelled windows, the checkpoints and the report."""
PAGE = "report.html"
"""Page of the report, in REPORT."""


class JobSpec(FrozenModel):
    """Job of the child, written before it starts and never changed."""

    run_id: str
    spec: str = Field(description="Name of a spec that ships with a domain and has a recipe.")
    epochs: int | None = Field(description="Epochs; null for those of the recipe.")
    episodes: int | None
    seed: int | None
    warm_start: bool = Field(description="Start from the champion's weights.")
    data: Path | None = Field(description="File that the recipe trains or evaluates on, if it reads one.")
    evaluation_episodes: int
    evaluation_lines: int
    nice: int
    memory_mb: int | None = Field(
        None, description="MiB that the child may use; if the recipe needs more, fewer episodes are simulated."
    )


class Outcome(FrozenModel):
    """Verdict of the gate on the candidate in the same folder."""

    model_id: str
    champion_id: str | None = Field(description="Null for the first model of a spec.")
    passed: bool
    failed_criteria: list[str]
    metrics: dict[str, float]
    note: str = Field("", description="Deviations from the configuration, as text.")


class JobProgress(FrozenModel):
    """Line that the child prints: its progress, or the reason why it failed."""

    progress: float = Field(0.0, ge=0, le=1)
    stage: str = ""
    model_id: str | None = None
    failed: str | None = None
