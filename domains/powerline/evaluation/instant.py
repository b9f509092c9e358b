"""Evaluate an `instant` model on ``classData.csv``, using the test part of the split with which it was trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from domains.powerline.data.classdata import Split, read_classdata, split_classdata
from model.artefact import Artefact
from model.spec import SignalSpec
from training.data.classifier import Classifier, classify_single
from training.data.windows import Windows
from training.evaluation.documents import DataSummary, Elsewhere, Failure, LeakageCheck, Slice
from training.evaluation.evaluation import (
    MOST_FAILURES,
    Evaluation,
    Predictions,
    Progress,
    class_slices,
    slice_of,
    worst,
)
from training.fitting.defaults import DEFAULT_SEED
from training.report.failures import axes, waveform
from training.report.scores import merged_macro_f1

# Length of a bootstrap block: a tenth of a cycle, because neighbouring rows are not independent samples.
BLOCK_ROWS = 40
AROUND_ROWS = 200
QUARTERS = ("lowest", "second", "third", "highest")


def evaluate_instant_model(classify: Classifier, artefact: Artefact, data: Path, step: Progress) -> Evaluation:
    """Evaluate an `instant` classifier on the rows that its training held out.

    Args:
        classify: see ``training.data.classifier.Classifier``.
        artefact: artefact whose manifest names the split and the seed of its training.
        data: path of ``classData.csv``.
        step: called with a description of each step.

    Raises:
        DataSetError: the file is not ``classData.csv``.
    """
    spec = artefact.manifest.spec
    metrics: dict[str, Any] = dict(artefact.manifest.metrics)
    split, drawn = _drawn(artefact)
    seed = artefact.manifest.provenance.get("seed")
    step(f"classifying the test part of the {split} split")
    windows = read_classdata(data, spec)
    train, validation, test = split_classdata(windows, split, drawn)
    parts = {"training": len(train), "validation": len(validation), "test": len(test)}
    train_rows, test_rows = _rows(windows, split, drawn)
    probabilities = classify_single(classify, test.data)
    source = f"{data.name}, {split} split, test part; intervals over blocks of {BLOCK_ROWS} rows"
    predictions = Predictions(test.labels, probabilities, test_rows // BLOCK_ROWS, source)
    elsewhere = _elsewhere(metrics, "random" if split == "blocks" else "blocks")
    step("checking for leakage")
    honest = merged_macro_f1(predictions, spec)
    if split == "random":
        honest = elsewhere.merged_macro_f1 if elsewhere else 0.0
    return Evaluation(
        predictions=predictions,
        data=DataSummary(
            training=f"{data.name}, {split} split 60/20/20, seed {seed}",
            evaluation=source,
            parts=parts,
            leakage=_leakage(windows, train_rows, test_rows, split),
        ),
        slices=worst(list(_slices(predictions, test, spec))),
        failures=tuple(_failures(predictions, test_rows, windows, spec)),
        elsewhere=elsewhere,
        holdout=honest,
        holdout_is_predicted=False,  # the gate's hold-out score is from another split than the predictions
    )


def unseen_windows(artefact: Artefact, data: Path) -> Windows:
    """Return the rows that an artefact's training held out, in the order of the file.

    Args:
        artefact: artefact whose manifest names the split and the seed of its training.
        data: path of ``classData.csv``.

    Raises:
        DataSetError: the file is not ``classData.csv``.
    """
    windows = read_classdata(data, artefact.manifest.spec)
    _, test_rows = _rows(windows, *_drawn(artefact))
    return windows.take(np.sort(test_rows))


def _drawn(artefact: Artefact) -> tuple[Split, int]:
    """Return the split and the seed of an artefact's training."""
    seed = artefact.manifest.provenance.get("seed")
    split: Split = "blocks" if artefact.manifest.metrics.get("split") == "blocks" else "random"
    return split, seed if isinstance(seed, int) else DEFAULT_SEED


def _rows(windows: Windows, split: Split, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the row numbers of the training and the test part, by passing them through the split as weights."""
    # float32 represents integers exactly up to 16 million; the file has 7,861 rows.
    numbered = replace(windows, weights=np.arange(len(windows), dtype=np.float32))
    train, _, test = split_classdata(numbered, split, seed)
    return train.weights.astype(np.int64), test.weights.astype(np.int64)


def _elsewhere(metrics: dict[str, Any], split: Split) -> Elsewhere | None:
    other = metrics.get(split)
    if not other:
        return None
    scores = other["test"]
    return Elsewhere(
        split=split,
        windows=int(other["rows"]["test"]),
        macro_f1=scores["macro_f1"],
        merged_macro_f1=scores["merged_macro_f1"],
    )


def _leakage(windows: Windows, train: np.ndarray, test: np.ndarray, split: Split) -> tuple[LeakageCheck, ...]:
    """Count equal rows in training and test, and test rows whose neighbour in time is a training row."""
    training_rows = {windows.data[row].tobytes() for row in train}
    # The random split cannot avoid neighbours. They are reported and do not fail the check, since the report also shows
    # the score of the split by blocks.
    allowed = None if split == "random" else 0
    inside = np.zeros(len(windows) + 2, bool)
    inside[train + 1] = True
    neighbours = inside[test] | inside[test + 2]
    return (
        LeakageCheck(question="test rows that are training rows", found=int(np.isin(test, train).sum()), of=len(test)),
        LeakageCheck(
            question="test rows with the values of a training row",
            found=sum(windows.data[row].tobytes() in training_rows for row in test),
            of=len(test),
            allowed=None,
        ),
        LeakageCheck(
            question="test rows whose neighbour in time is a training row",
            found=int(neighbours.sum()),
            of=len(test),
            allowed=allowed,
        ),
    )


def _slices(predictions: Predictions, test: Windows, spec: SignalSpec) -> Iterator[Slice]:
    values = test.data[:, -1, :]
    currents, voltages = (values[:, list(group)] for group in spec.groups.values())
    measures = {
        "largest current": np.abs(currents).max(axis=1),
        "smallest current": np.abs(currents).min(axis=1),
        "largest voltage": np.abs(voltages).max(axis=1),
        "sum of currents": np.abs(currents.sum(axis=1)),
    }
    yield from class_slices(predictions, spec)
    for dimension, measured in measures.items():
        place = np.searchsorted(np.quantile(measured, [0.25, 0.5, 0.75]), measured)
        for quarter, name in enumerate(QUARTERS):
            yield from slice_of(dimension, f"{name} quarter", place == quarter, predictions, spec)


def _failures(predictions: Predictions, test_rows: np.ndarray, windows: Windows, spec: SignalSpec) -> Iterator[Failure]:
    """Yield the most confidently misclassified rows, one for each confusion, with the rows around them."""
    merged = np.array(spec.equivalent_indices())
    sure = predictions.probabilities.max(axis=1) * (merged[predictions.y_pred] != merged[predictions.labels])
    peak = np.abs(windows.data[:, 0, :]).max(axis=0)
    seen: set[tuple[int, int]] = set()
    for k in np.argsort(-sure):
        pair = int(predictions.labels[k]), int(predictions.y_pred[k])
        if sure[k] == 0 or len(seen) == MOST_FAILURES:
            return
        if pair in seen:
            continue
        seen.add(pair)
        row = int(test_rows[k])
        run = np.flatnonzero(windows.episode == windows.episode[row])
        first, last = max(run[0], row - AROUND_ROWS), min(run[-1] + 1, row + AROUND_ROWS)
        yield Failure(
            title="wrong row",
            truth=spec.class_names[pair[0]],
            said=spec.class_names[pair[1]],
            probability=round(float(sure[k]), 4),
            facts={"row": f"{row + 2} of the file", "scale": "channels by their largest value in the file"},
            channels=spec.channels,
            samples=waveform(windows.data[first:last, 0, :] / peak),
            mark=row - int(first),
            **axes(spec),
        )
