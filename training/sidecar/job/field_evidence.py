"""Candidate and champion on labelled windows of the field that neither has learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model.artefact import Artefact
from model.engine import Engine
from model.spec import load_spec
from training.data.feedback import field_scores, split_field
from training.data.windows import Windows
from training.gate.gate import Criterion, GateThresholds, field_criterion
from training.sidecar.job.spec import CANDIDATE, CHAMPION
from training.sidecar.job.train import field_windows


def judged_by_field(spec: str, folder: Path, beside: bool) -> tuple[Criterion | None, dict[str, float]]:
    """Compare the two on the part of the field's windows that trainings hold out.

    Args:
        spec: name of the spec.
        folder: of the retraining, with the models and the snapshot of the store.
        beside: whether there is a champion.

    Returns:
        The gate's criterion, None where it has none; and the scores by name.
    """
    windows = field_windows(folder, load_spec(spec))
    if windows is None:
        return None, {}
    held_out = split_field(windows).hold_out
    mine = _scores(folder / CANDIDATE, held_out)
    theirs = _scores(folder / CHAMPION, held_out) if beside else {}
    told = {f"field_{name}": float(value) for name, value in mine.items() if value is not None}
    told |= {f"champion_field_{name}": float(value) for name, value in theirs.items() if value is not None}
    name = "merged_accuracy"
    criterion = field_criterion(mine.get(name), theirs.get(name), mine["windows"], GateThresholds.of_spec(spec))
    return criterion, told


def _scores(model: Path, windows: Windows) -> dict[str, Any]:
    with Engine(Artefact.load(model)) as engine:
        return field_scores(engine.classify, windows, engine.spec)
