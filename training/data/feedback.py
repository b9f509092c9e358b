"""Use feedback, that is, labelled windows from production: hold out a part, weight the rest, and score models.

A network with a memory learns from ``Sequences`` of windows, every other network from single ``Windows``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.windowing import cut_windows
from training.data.balancing import balanced, fair_shares, rarest_classes
from training.data.classifier import Classifier
from training.data.sequences import Sequences
from training.data.windows import Windows
from training.metrics import window_scores

__all__ = [
    "HELD_OUT_SHARE",
    "MAX_SEQUENCES",
    "MAX_SHARE",
    "MAX_WEIGHT",
    "MAX_WINDOWS",
    "Feedback",
    "FeedbackSplit",
    "feedback_scores",
    "labelled_count",
    "split_feedback",
    "weighted_feedback",
]

Feedback = Windows | Sequences
"""Labelled windows from production: sequences for a network with a memory, single windows for any other network."""
Labelled = TypeVar("Labelled", Windows, Sequences, Windows | Sequences)

HELD_OUT_SHARE = 0.25  # share of the episodes
MAX_WINDOWS = 60_000  # largest number used for training: as many as a small training simulates
# Largest number of sequences used for training. At 128 windows of 32 x 6 values each, they take 100 MB.
MAX_SEQUENCES = 4000
# Largest share of the total weight in a training. The simulator covers hundreds of lines and every fault, production
# only a few.
MAX_SHARE = 0.2
# Largest factor on a feedback window's weight, so that a dozen windows do not dominate a training.
MAX_WEIGHT = 5.0
# Sequences that are classified at once when models are scored: 128 windows each of 32 x 6 values are 6 MB.
_SCORED_TOGETHER = 64
_PARTS = 1 << 20


@dataclass(frozen=True)
class FeedbackSplit(Generic[Labelled]):
    """Feedback for training, and feedback of other episodes that is held out for evaluation."""

    train: Labelled
    hold_out: Labelled


def labelled_count(feedback: Feedback) -> int:
    """Return the number of windows that have a weight; the context of labelled windows has none."""
    return int(np.count_nonzero(feedback.weights))


def split_feedback(feedback: Labelled) -> FeedbackSplit[Labelled]:
    """Hold a quarter of the episodes out, the same ones in every training.

    The number of an episode, which the store derives from line and time, alone decides if it is held out. A champion
    is therefore never trained on the windows on which a later candidate is compared with it. With two episodes or more,
    neither part is empty. All sequences of an episode are in the same part.
    """
    numbers = np.unique(feedback.episode)
    # Numbers are multiplied by an odd constant, so that consecutive numbers (0, 1, 2 …) are spread as well.
    place = (numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(44)
    out = place < HELD_OUT_SHARE * _PARTS
    if len(numbers) > 1:
        out[np.argmin(place)], out[np.argmax(place)] = True, False
    held = np.isin(feedback.episode, numbers[out])
    return FeedbackSplit(feedback.take(~held), feedback.take(held))


def weighted_feedback(feedback: Labelled, simulated_weight: float, seed: int) -> Labelled:
    """Return feedback with weights for training together with simulated data.

    Every class has the same total weight if it has enough windows. Together the classes have at most a fifth of the
    total weight, and a window has at most five times its former weight. Windows of weight 0 keep it.

    Args:
        feedback: feedback for training.
        simulated_weight: sum of the weights of the simulated windows that it is joined to.
        seed: seed of the random choice if there are more than ``MAX_WINDOWS`` windows or ``MAX_SEQUENCES`` sequences.
    """
    order = np.random.default_rng(seed).permutation(len(feedback))
    if isinstance(feedback, Sequences):
        group, most = rarest_classes(feedback.labels, feedback.weights), MAX_SEQUENCES
    else:
        group, most = feedback.labels.astype(np.int64), MAX_WINDOWS
    kept = feedback.take(balanced([group, feedback.episode], order, most))
    if not len(kept):
        return kept
    own = np.bincount(kept.labels.ravel(), kept.weights.ravel())
    total = MAX_SHARE / (1 - MAX_SHARE) * simulated_weight
    fine = 1000  # shares are whole numbers
    shares = fair_shares((own * MAX_WEIGHT * fine).astype(np.int64), int(total * fine)) / fine
    factor = np.divide(shares, own, out=np.zeros_like(own), where=own > 0)
    return replace(kept, weights=(kept.weights * factor[kept.labels]).astype(np.float32))


def feedback_scores(classify: Classifier, feedback: Feedback, spec: SignalSpec) -> dict[str, Any]:
    """Score a classifier, such as a champion or a candidate, on feedback.

    Args:
        classify: returns the probabilities of the windows of lines, see ``Classifier``. Every sequence is a line, and
            so is every single window.
        feedback: feedback; windows that a fault only partly fills are not scored, nor are windows without a label.
        spec: spec of the windows.

    Returns:
        ``windows`` (their number), ``accuracy``, ``macro_f1`` and both merged (equivalent classes as one),
        ``false_alarms`` (share of the quiet windows classified as faulty) and ``missed`` (share of the faulty windows
        classified as quiet); a score without windows is None.
    """
    y_true, y_pred = _answers(classify, feedback, spec)
    if not len(y_true):
        names = ("accuracy", "macro_f1", "merged_accuracy", "merged_macro_f1", "false_alarms", "missed")
        return {"windows": 0, **dict.fromkeys(names)}
    quiet, predicted_quiet = y_true == spec.none_index, y_pred == spec.none_index
    scores = window_scores(y_true, y_pred, spec)
    return {
        "windows": len(y_true),
        **{name: round(value, 4) for name, value in scores.items()},
        "false_alarms": round(float((~predicted_quiet[quiet]).mean()), 4) if quiet.any() else None,
        "missed": round(float(predicted_quiet[~quiet].mean()), 4) if not quiet.all() else None,
    }


def _answers(classify: Classifier, feedback: Feedback, spec: SignalSpec) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Return the true and the predicted classes (k,) of the windows that are scored."""
    whole = feedback.weights >= 1.0
    if isinstance(feedback, Windows):
        data = feedback.data[whole][:, None]
        predicted = classify(data)[:, 0].argmax(axis=1) if len(data) else np.zeros(0, np.intp)
        return feedback.labels[whole], predicted
    predicted = np.zeros(feedback.labels.shape, np.intp)
    for first in range(0, len(feedback), _SCORED_TOGETHER):
        part = slice(first, first + _SCORED_TOGETHER)
        windows = np.ascontiguousarray(cut_windows(feedback.data[part], spec))
        predicted[part] = classify(windows).argmax(axis=2)
    return feedback.labels[whole], predicted[whole]
