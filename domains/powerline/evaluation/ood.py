"""Measure how often a `line` model rejects in-distribution windows, and inputs that no line produces."""

from __future__ import annotations

from pathlib import Path

from domains.powerline.data.ood import in_distribution_windows, ood_windows, scaled_classdata
from model.artefact import Artefact
from training.evaluation.documents import Rejection, RejectionRow

GOOD_EPISODES = 400
SEED_STEP = 10  # distance of the seeds used here from those of scenarios


def measured_rejection(artefact: Artefact, seed: int, data: Path | None) -> Rejection | None:
    """Return the shares of in-distribution and out-of-distribution input that the artefact's bounds reject.

    Args:
        artefact: an artefact of spec `line`.
        seed: seed of the scenarios; the windows are drawn with another seed.
        data: path of ``classData.csv``, which is out of distribution for this spec; skipped if None.

    Returns:
        The shares by kind of input; None if the artefact has no bounds.
    """
    bounds, spec = artefact.manifest.rejection, artefact.manifest.spec
    if bounds is None:
        return None
    good = in_distribution_windows(spec, seed + SEED_STEP, GOOD_EPISODES)
    refused = bounds.is_ood(good.data)
    faulty = good.labels != spec.none_index
    out_of_distribution = ood_windows(spec, seed + SEED_STEP + 1)
    if data is not None:
        out_of_distribution["classData.csv times 1000"] = scaled_classdata(data, spec)
    kinds = {"faults as in training": good.data[faulty], **out_of_distribution}
    limits = bounds.model_dump(include={"most_current", "most_voltage", "least_change", "most_roughness"})
    return Rejection(
        bounds={name: value for name, value in limits.items() if value is not None},
        rows=tuple(
            RejectionRow(input=name, windows=len(windows), rejected=round(float(bounds.is_ood(windows).mean()), 5))
            for name, windows in kinds.items()
        ),
        good_rejected=round(float(refused.mean()), 6),
    )
