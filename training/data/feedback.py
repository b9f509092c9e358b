"""Field windows in a training: which are held out, what the others weigh, how a model does on the former. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from training.data.balancing import balanced, fair_shares
from training.data.windows import Windows
from training.metrics import window_scores

HELD_OUT_SHARE = 0.25  # of the episodes
MOST_WINDOWS = 60_000  # learned from: as many again as a small training simulates
# Of all that a training learns from. The simulator knows hundreds of lines and every fault; the field has shown few.
MOST_SHARE = 0.2
MOST_WEIGHT = 5.0  # of a field window over a simulated one, so that a dozen windows do not become the whole truth
_PARTS = 1 << 20

Classify = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class FieldParts:
    """Field windows to learn from, and those of other episodes that are only judged by."""

    train: Windows
    hold_out: Windows


def split_field(windows: Windows) -> FieldParts:
    """Hold a quarter of the episodes out, the same ones in every training that sees them.

    An episode's side follows from its number alone, which the store makes of line and time, so a champion was never
    trained on what a later candidate is compared with it by. With two episodes or more no side is empty.
    """
    numbers = np.unique(windows.episode)
    # Multiplied by an odd constant, so that plain numbers (0, 1, 2 …) are spread as well.
    place = (numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(44)
    out = place < HELD_OUT_SHARE * _PARTS
    if len(numbers) > 1:
        out[np.argmin(place)], out[np.argmax(place)] = True, False
    held = np.isin(windows.episode, numbers[out])
    return FieldParts(windows.take(~held), windows.take(held))


def weighed(field: Windows, simulated: Windows, seed: int) -> Windows:
    """Return field windows with weights that fit beside simulated ones.

    Every class weighs the same as far as it has windows enough; together they weigh at most a fifth of everything, and
    a window at most five times what it did.

    Args:
        field: to learn from.
        simulated: what they are joined to.
        seed: of the choice where there are more than can be used.
    """
    order = np.random.default_rng(seed).permutation(len(field))
    kept = field.take(balanced([field.labels, field.episode], order, MOST_WINDOWS))
    if not len(kept):
        return kept
    own = np.bincount(kept.labels, kept.weights)
    most = MOST_SHARE / (1 - MOST_SHARE) * float(simulated.weights.sum())
    fine = 1000  # shares are whole numbers
    shares = fair_shares((own * MOST_WEIGHT * fine).astype(np.int64), int(most * fine)) / fine
    factor = np.divide(shares, own, out=np.zeros_like(own), where=own > 0)
    return replace(kept, weights=(kept.weights * factor[kept.labels]).astype(np.float32))


def field_scores(classify: Classify, windows: Windows, spec: SignalSpec) -> dict[str, Any]:
    """Score a classifier on field windows, as a champion before and a candidate after a retraining.

    Args:
        classify: probabilities (n, classes) of windows (n, samples, channels).
        windows: labelled; those that a fault only partly fills are left out.
        spec: of the windows.

    Returns:
        ``windows`` judged, ``accuracy``, ``macro_f1`` and both merged (ungrounded and grounded three-phase faults as
        one), ``false_alarms`` (part of the quiet windows judged faulty) and ``missed`` (part of the faulty ones judged
        quiet); None for what cannot be said.
    """
    whole = windows.take(windows.weights >= 1.0)
    if not len(whole):
        names = ("accuracy", "macro_f1", "merged_accuracy", "merged_macro_f1", "false_alarms", "missed")
        return {"windows": 0, **dict.fromkeys(names)}
    said = classify(whole.data).argmax(axis=1)
    quiet, silent = whole.labels == spec.none_index, said == spec.none_index
    scores = window_scores(whole.labels, said, spec)
    return {
        "windows": len(whole),
        **{name: round(value, 4) for name, value in scores.items()},
        "false_alarms": round(float((~silent[quiet]).mean()), 4) if quiet.any() else None,
        "missed": round(float(silent[~quiet].mean()), 4) if not quiet.all() else None,
    }
