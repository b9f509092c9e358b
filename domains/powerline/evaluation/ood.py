"""Measure what a `line` model refuses: inputs that no line sends, and good ones."""

from __future__ import annotations

from pathlib import Path

from domains.powerline.data.ood import in_distribution_windows, ood_windows, scaled_classdata
from model.artefact import Artefact
from training.evaluation.documents import Rejection, RejectionRow

GOOD_EPISODES = 400
APART = 10  # between the seeds of scenarios and those used here


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
    good = in_distribution_windows(spec, seed + APART, GOOD_EPISODES)
    refused = bounds.is_ood(good.data)
    faulty = good.labels != spec.none_index
    strange = ood_windows(spec, seed + APART + 1)
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
