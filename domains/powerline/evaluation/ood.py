"""What a `line` model makes of what is foreign to it: conditions beyond training, and inputs that no line sends."""

from __future__ import annotations

from pathlib import Path

from domains.powerline.data.line_data import Classifier
from domains.powerline.data.ood import good_windows, scaled_classdata, strange_windows
from model.artefact import Artefact
from training.evaluation.conditions import chosen
from training.evaluation.conditions.results import RobustnessResult
from training.evaluation.robustness import evaluate
from training.report.data import Rejection, RejectionRow
from training.report.evaluation import Progress

GOOD_EPISODES = 400
APART = 10  # between the seeds of scenarios and those used here


def measured_conditions(
    classify: Classifier, artefact: Artefact, episodes: int, step: Progress
) -> RobustnessResult | None:
    """Score a classifier under every condition on the frozen records; None for no episodes."""
    if episodes == 0:
        return None

    def tell(condition: str, level: int) -> None:
        if level <= 1:
            step(f"condition {condition.replace('_', ' ')}")

    return evaluate(
        classify,
        artefact.manifest.spec,
        chosen([]),
        episodes=episodes,
        model_id=artefact.model_id,
        progress=tell,
    )


def measured_rejection(artefact: Artefact, seed: int, data: Path | None) -> Rejection | None:
    """Return how much of good and of foreign input the artefact's bounds refuse; None where it has none.

    Args:
        artefact: of spec `line`.
        seed: of the scenarios; windows are drawn from another.
        data: ``classData.csv``, which is foreign to this spec; left out where not given.
    """
    bounds, spec = artefact.manifest.rejection, artefact.manifest.spec
    if bounds is None:
        return None
    good = good_windows(spec, seed + APART, GOOD_EPISODES)
    refused = bounds.is_ood(good.data)
    faulty = good.labels != spec.none_index
    strange = strange_windows(spec, seed + APART + 1)
    if data is not None:
        strange["classData.csv times 1000"] = scaled_classdata(data, spec)
    kinds = {"faults as in training": good.data[faulty], **strange}
    limits = bounds.model_dump(include={"most_current", "most_voltage", "least_change", "most_roughness"})
    return Rejection(
        bounds={name: value for name, value in limits.items() if value is not None},
        rows=tuple(
            RejectionRow(input=name, windows=len(windows), rejected=round(float(bounds.is_ood(windows).mean()), 5))
            for name, windows in kinds.items()
        ),
        good_rejected=round(float(refused.mean()), 6),
    )
