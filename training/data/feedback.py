"""Use feedback, that is, labelled windows from production: hold out a part, weight the rest, and score models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from model.spec import SignalSpec
from training.data.balancing import balanced, fair_shares
from training.data.classifier import Classifier
from training.data.windows import Windows
from training.metrics import window_scores

HELD_OUT_SHARE = 0.25  # share of the episodes
MAX_WINDOWS = 60_000  # largest number used for training: as many as a small training simulates
# Largest share of the total weight in a training. The simulator covers hundreds of lines and every fault, production
# only a few.
MAX_SHARE = 0.2
# Largest factor on a feedback window's weight, so that a dozen windows do not dominate a training.
MAX_WEIGHT = 5.0
_PARTS = 1 << 20


@dataclass(frozen=True)
class FeedbackSplit:
    """Feedback windows for training, and windows of other episodes that are held out for evaluation."""

    train: Windows
    hold_out: Windows


def split_feedback(windows: Windows) -> FeedbackSplit:
    """Hold a quarter of the episodes out, the same ones in every training.

    The number of an episode, which the store derives from line and time, alone decides if it is held out. A champion
    is therefore never trained on the windows on which a later candidate is compared with it. With two episodes or more,
    neither part is empty.
    """
    numbers = np.unique(windows.episode)
    # Numbers are multiplied by an odd constant, so that consecutive numbers (0, 1, 2 …) are spread as well.
    place = (numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(44)
    out = place < HELD_OUT_SHARE * _PARTS
    if len(numbers) > 1:
        out[np.argmin(place)], out[np.argmax(place)] = True, False
    held = np.isin(windows.episode, numbers[out])
    return FeedbackSplit(windows.take(~held), windows.take(held))


def weighted_feedback(feedback: Windows, simulated: Windows, seed: int) -> Windows:
    """Return feedback windows with weights for training together with simulated windows.

    Every class has the same total weight if it has enough windows. Together the classes have at most a fifth of the
    total weight, and a window has at most five times its former weight.

    Args:
        feedback: feedback windows for training.
        simulated: the simulated windows that they are joined to.
        seed: seed of the random choice if there are more than ``MAX_WINDOWS``.
    """
    order = np.random.default_rng(seed).permutation(len(feedback))
    kept = feedback.take(balanced([feedback.labels, feedback.episode], order, MAX_WINDOWS))
    if not len(kept):
        return kept
    own = np.bincount(kept.labels, kept.weights)
    most = MAX_SHARE / (1 - MAX_SHARE) * float(simulated.weights.sum())
    fine = 1000  # shares are whole numbers
    shares = fair_shares((own * MAX_WEIGHT * fine).astype(np.int64), int(most * fine)) / fine
    factor = np.divide(shares, own, out=np.zeros_like(own), where=own > 0)
    return replace(kept, weights=(kept.weights * factor[kept.labels]).astype(np.float32))


def feedback_scores(classify: Classifier, windows: Windows, spec: SignalSpec) -> dict[str, Any]:
    """Score a classifier, such as a champion or a candidate, on feedback windows.

    Args:
        classify: see ``Classifier``; each window is a line of one step.
        windows: labelled windows; those that a fault only partly fills are not scored.
        spec: spec of the windows.

    Returns:
        ``windows`` (their number), ``accuracy``, ``macro_f1`` and both merged (equivalent classes as one),
        ``false_alarms`` (share of the quiet windows classified as faulty) and ``missed`` (share of the faulty windows
        classified as quiet); a score without windows is None.
    """
    whole = windows.take(windows.weights >= 1.0)
    if not len(whole):
        names = ("accuracy", "macro_f1", "merged_accuracy", "merged_macro_f1", "false_alarms", "missed")
        return {"windows": 0, **dict.fromkeys(names)}
    y_pred = classify(whole.data[:, None])[:, 0].argmax(axis=1)
    quiet, predicted_quiet = whole.labels == spec.none_index, y_pred == spec.none_index
    scores = window_scores(whole.labels, y_pred, spec)
    return {
        "windows": len(whole),
        **{name: round(value, 4) for name, value in scores.items()},
        "false_alarms": round(float((~predicted_quiet[quiet]).mean()), 4) if quiet.any() else None,
        "missed": round(float(predicted_quiet[~quiet].mean()), 4) if not quiet.all() else None,
    }
