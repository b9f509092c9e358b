"""Calibrate a model's probabilities by a temperature, and measure the calibration before and after.

Probabilities are float (n, classes), labels int (n,). "Merged" scores count the spec's equivalent classes as one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from model.spec import SignalSpec
from training.errors import TrainingError
from training.fitting.fit import fit_temperature

BINS = 15  # as in Guo et al. (2017), so that figures are comparable

Probabilities = NDArray[np.floating]
Labels = NDArray[np.integer]


@dataclass(frozen=True)
class ReliabilityBin:
    """Mean confidence and accuracy of the windows whose highest probability lies in ``low`` … ``high``."""

    low: float
    high: float
    windows: int
    confidence: float
    accuracy: float


def reliability(probabilities: Probabilities, labels: Labels, bins: int = BINS) -> list[ReliabilityBin]:
    """Divide confidence into ``bins`` bins of equal width, and return those that hold at least one window."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    # A bin includes its upper edge, so that a probability of 1 lies in the last bin.
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    found = []
    for k in np.unique(place):
        inside = place == k
        sure, accuracy = float(confidence[inside].mean()), float(right[inside].mean())
        found.append(ReliabilityBin(k / bins, (k + 1) / bins, int(inside.sum()), sure, accuracy))
    return found


def expected_calibration_error(probabilities: Probabilities, labels: Labels, bins: int = BINS) -> float:
    """Return the mean absolute difference between confidence and accuracy over windows, by bins of equal width.

    Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    parts = reliability(probabilities, labels, bins)
    return sum(part.windows * abs(part.confidence - part.accuracy) for part in parts) / len(labels)


def brier_score(probabilities: Probabilities, labels: Labels) -> float:
    """Return the mean squared error of the probabilities, summed over classes (Brier 1950): 0…2."""
    distance = probabilities.astype(np.float64)
    distance[np.arange(len(labels)), labels] -= 1
    return float(np.square(distance).sum(axis=1).mean())


def merge_equivalent(probabilities: Probabilities, labels: Labels, spec: SignalSpec) -> tuple[Probabilities, Labels]:
    """Return probabilities and labels with equivalent classes merged into one; the others of a group have 0."""
    merged = np.array(spec.equivalent_indices())
    summed = np.zeros_like(probabilities)
    for k, into in enumerate(merged):
        summed[:, into] += probabilities[:, k]
    return summed, merged[labels]


@dataclass(frozen=True)
class CalibrationScores:
    """Expected calibration error (15 bins) and Brier score, of all classes and merged."""

    ece: float
    brier: float
    merged_ece: float
    merged_brier: float

    @classmethod
    def of(cls, probabilities: Probabilities, labels: Labels, spec: SignalSpec) -> CalibrationScores:
        """Score probabilities (n, classes) against labels (n,)."""
        merged = merge_equivalent(probabilities, labels, spec)
        return cls(
            expected_calibration_error(probabilities, labels),
            brier_score(probabilities, labels),
            expected_calibration_error(*merged),
            brier_score(*merged),
        )


@dataclass(frozen=True)
class Calibration:
    """Temperature, and the calibration scores without and with it on windows that it was not fitted to."""

    temperature: float
    windows: int
    before: CalibrationScores
    after: CalibrationScores

    def as_metrics(self) -> dict[str, float]:
        """Return the scores flat and rounded, for a manifest: ``ece_before``, ``merged_ece`` and so on."""
        before = {f"{name}_before": value for name, value in asdict(self.before).items()}
        return {name: round(value, 5) for name, value in {**asdict(self.after), **before}.items()}


def prior_offset(logits: NDArray[np.float32], labels: Labels, none_index: int) -> float:
    """Return the offset of the logit of "no fault" that corrects for the rarity of faults in operation.

    Training selects informative windows, among which faults are many times more common than on a line. A change of the
    classes' prior probabilities is an offset of their logits (Saerens et al., "Adjusting the outputs of a classifier
    to new a priori probabilities", Neural Computation 14, 2002). This function fits one offset, together with a
    temperature, by maximum likelihood to windows at their natural frequency.

    Args:
        logits: logits (n, classes) of windows at their natural frequency.
        labels: labels of these windows, (n,).
        none_index: index of the no-fault class.
    """
    given = logits.astype(np.float64)

    def loss(parameters: NDArray[np.float64]) -> float:
        scaled = given.copy()
        scaled[:, none_index] += parameters[0]
        scaled *= np.exp(parameters[1])
        return float((logsumexp(scaled, axis=1) - scaled[np.arange(len(labels)), labels]).mean())

    return float(minimize(loss, np.zeros(2), method="Nelder-Mead").x[0])


def calibrate(
    logits: NDArray[np.float32],
    labels: Labels,
    test_logits: NDArray[np.float32],
    test_labels: Labels,
    spec: SignalSpec,
) -> Calibration:
    """Fit a temperature to one part and evaluate it on another.

    Args:
        logits: logits (n, classes) of calibration windows, used neither for training nor for selecting the best epoch.
        labels: labels (n,) of the calibration windows.
        test_logits: logits (m, classes) of the evaluation windows, which come from other episodes.
        test_labels: labels (m,) of the evaluation windows.
        spec: spec that defines the equivalent classes.

    Raises:
        TrainingError: a part is empty.
    """
    if len(labels) == 0 or len(test_labels) == 0:
        raise TrainingError("calibration needs windows to fit on and others to evaluate on; use more episodes")
    temperature = fit_temperature(logits, labels.astype(np.int32))
    before, after = (softmax(test_logits.astype(np.float64) / t, axis=1) for t in (1.0, temperature))
    return Calibration(
        temperature,
        len(test_labels),
        CalibrationScores.of(before, test_labels, spec),
        CalibrationScores.of(after, test_labels, spec),
    )
