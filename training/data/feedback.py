"""Feedback: labelled windows from production. Hold a part out, weigh the rest for training, score models. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from model.spec import SignalSpec
from training.data.balancing import balanced, fair_shares
from training.data.classifier import Classifier
from training.data.windows import Windows
from training.metrics import window_scores

HELD_OUT_SHARE = 0.25  # of the episodes
MAX_WINDOWS = 60_000  # used for training: as many again as a small training simulates
# Of the total weight in a training. The simulator knows hundreds of lines and every fault; production has shown few.
MAX_SHARE = 0.2
MAX_WEIGHT = 5.0  # of a feedback window over a simulated one, so that a dozen windows do not decide a training
_PARTS = 1 << 20


@dataclass(frozen=True)
class FeedbackSplit:
    """Feedback windows for training, and those of other episodes that are held out for evaluation."""

    train: Windows
    hold_out: Windows


def split_feedback(windows: Windows) -> FeedbackSplit:
    """Hold a quarter of the episodes out, the same ones in every training.

    An episode's side follows from its number alone, which the store derives from line and time, so a champion was never
    trained on the windows by which a later candidate is compared with it. With two episodes or more no side is empty.
    """
    numbers = np.unique(windows.episode)
    # Multiplied by an odd constant, so that plain numbers (0, 1, 2 …) are spread as well.
    place = (numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(44)
    out = place < HELD_OUT_SHARE * _PARTS
    if len(numbers) > 1:
        out[np.argmin(place)], out[np.argmax(place)] = True, False
    held = np.isin(windows.episode, numbers[out])
    return FeedbackSplit(windows.take(~held), windows.take(held))


def weighted_feedback(feedback: Windows, simulated: Windows, seed: int) -> Windows:
    """Return feedback windows with weights that fit beside simulated ones.

    Every class weighs the same where it has enough windows; together they weigh at most a fifth of everything, and a
    window at most five times its former weight.

    Args:
        feedback: for training.
        simulated: the windows that they are joined to.
        seed: of the choice where there are more than can be used.
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
    """Score a classifier, such as a champion and its candidate, on feedback windows.

    Args:
        classify: probabilities (n, classes) of windows (n, samples, channels).
        windows: labelled; those that a fault only partly fills are left out.
        spec: of the windows.

    Returns:
        ``windows`` (their number), ``accuracy``, ``macro_f1`` and both merged (equivalent classes as one),
        ``false_alarms`` (part of the quiet windows classified as faulty) and ``missed`` (part of the faulty ones
        classified as quiet); None for a score without windows.
    """
    whole = windows.take(windows.weights >= 1.0)
    if not len(whole):
        names = ("accuracy", "macro_f1", "merged_accuracy", "merged_macro_f1", "false_alarms", "missed")
        return {"windows": 0, **dict.fromkeys(names)}
    y_pred = classify(whole.data).argmax(axis=1)
    quiet, predicted_quiet = whole.labels == spec.none_index, y_pred == spec.none_index
    scores = window_scores(whole.labels, y_pred, spec)
    return {
        "windows": len(whole),
        **{name: round(value, 4) for name, value in scores.items()},
        "false_alarms": round(float((~predicted_quiet[quiet]).mean()), 4) if quiet.any() else None,
        "missed": round(float(predicted_quiet[~quiet].mean()), 4) if not quiet.all() else None,
    }
