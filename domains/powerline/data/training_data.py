"""Provide training and evaluation data of a `line` model, from episodes simulated for it or from a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from domains.powerline.data.datasets import DataSet, open_dataset
from domains.powerline.data.hold_out import HELD_OUT, splits
from domains.powerline.data.line_data import Batches, doubtful, hard_windows, training_windows
from domains.powerline.data.ood import in_distribution_windows
from model.spec import SignalSpec
from training.data.classifier import Classifier, Search
from training.data.windows import Windows, select, split_by_episode
from training.errors import DataSetError

log = structlog.get_logger(__name__)

LINE_SHARES = (0.94, 0.06)  # training, validation
# Maximum number of rounds of fitting that are followed by a search for hard windows.
MOST_SEARCHES = 2
# Maximum number of evaluated episodes in a part of a data set: all their windows are kept, about 150 per episode.
MOST_EVALUATED = 400
EVALUATED = ("calibration", "test", *(f"held-out-{band}" for band in HELD_OUT))


@dataclass(frozen=True)
class Seeds:
    """Seeds of all random parts of a training, derived from the given one.

    Every simulation other than that of the training set has its own seed, which may be any number outside the range of
    the training set's seeds.
    """

    training: int

    def search(self, number: int) -> int:
        """Return the seed of the search for hard windows after round ``number``, counted from 1."""
        return self.training + 500_000 * number

    @property
    def calibration(self) -> int:
        """Return the seed of the calibration windows."""
        return self.training + 7_000_000

    @property
    def rejection(self) -> int:
        """Return the seed of the windows on which the bounds of rejection are chosen."""
        return self.training + 8_000_000

    @property
    def test(self) -> int:
        """Return the seed of the test that is part of the training."""
        return self.training + 9_000_000

    def used(self) -> set[int]:
        """Return every seed that a training uses; each use also takes the seed after it."""
        searches = (self.search(number) for number in range(1, MOST_SEARCHES + 1))
        seeds = (self.training, *searches, self.calibration, self.rejection, self.test)
        return {seed + extra for seed in seeds for extra in (0, 1)}


@dataclass(frozen=True)
class TrainingData:
    """Windows of a training.

    Attributes:
        train: instructive windows to learn from.
        validation: instructive windows of other episodes.
        calibration: all windows of further episodes, at their natural frequency.
        test: all windows of yet other episodes, at their natural frequency.
        search: finds hard windows between two rounds.
        held_out: all windows of each held-out band, which none of the other parts contains.
        source: origin of the data for the manifest; None if simulated.
    """

    train: Windows
    validation: Windows
    calibration: Windows
    test: Windows
    search: Search
    held_out: Mapping[str, Windows] = field(default_factory=dict)
    source: Mapping[str, Any] | None = None


def simulate_training_data(batches: Batches, spec: SignalSpec, seeds: Seeds) -> TrainingData:
    """Simulate the windows of training and evaluation, and prepare the simulation of hard windows in every round."""
    windows = training_windows(batches, spec, seeds.training)
    known = batches.mixed + batches.brief
    train, validation = split_by_episode(windows, LINE_SHARES, seeds.training)
    log.info("training-windows-simulated", episodes=known, windows=len(windows))
    calibration, test = (in_distribution_windows(spec, seed) for seed in (seeds.calibration, seeds.test))
    search = simulated_search(batches.mined, spec, seeds, known)
    return TrainingData(train, validation, calibration, test, search)


def simulated_search(count: int, spec: SignalSpec, seeds: Seeds, first_episode: int) -> Search:
    """Return a search through ``count`` new episodes per round, numbered from ``first_episode`` on."""

    def search(done: int, _: int, classify: Classifier) -> Windows:
        number = first_episode + (done - 1) * count
        found = hard_windows(count, spec, seeds.search(done), classify, number)
        log.info("hard-windows-found", episodes=count, windows=len(found))
        return found

    return search


def read_training_data(path: Path, spec: SignalSpec, seed: int) -> TrainingData:
    """Read a data set's parts, which share no episode; the held-out bands are in none of the other parts.

    Hard windows are searched among all windows of the training episodes, since the first round learns from few of them.
    Every round searches other episodes.

    Raises:
        DataSetError: the file is not a data set, its windows do not fit ``spec``, or it has too few episodes.
    """
    dataset = open_dataset(path)
    _fits(dataset, spec)
    parts = splits(dataset, seed)
    if empty := [name for name in ("training", "validation", "calibration", "test") if not len(parts[name])]:
        raise _too_few(dataset, f"leave none for {', '.join(empty)}")
    train, validation = (_windows(dataset, parts[name], spec, seed) for name in ("training", "validation"))
    if missing := [name for k, name in enumerate(spec.class_names) if not (train.labels == k).any()]:
        raise _too_few(dataset, f"leave {len(parts['training'])} to learn from, without any {', '.join(missing)}")
    evaluated = {name: _windows(dataset, parts[name][:MOST_EVALUATED], spec) for name in EVALUATED}
    log.info("data-set-read", episodes=len(dataset), windows=len(train) + len(validation))

    def search(done: int, rounds: int, classify: Classifier) -> Windows:
        numbers = parts["training"][done - 1 :: max(1, rounds - 1)]
        found = doubtful(_parts(dataset, numbers, spec), spec, seed + done, classify)
        log.info("hard-windows-found", episodes=len(numbers), windows=len(found))
        return found

    return TrainingData(
        train,
        validation,
        evaluated["calibration"],
        evaluated["test"],
        search,
        held_out={band: evaluated[f"held-out-{band}"] for band in HELD_OUT},
        source=_source(dataset, parts),
    )


def _fits(dataset: DataSet, spec: SignalSpec) -> None:
    recipe = dataset.recipe
    held = recipe.channels, recipe.classes, recipe.samples_per_cycle
    wanted = tuple(spec.channels), tuple(spec.class_names), spec.period_samples
    for what, has, needs in zip(("channels", "classes", "samples per cycle"), held, wanted, strict=True):
        if has != needs:
            raise DataSetError(
                f"{dataset.path}: its {what} are {has}, but spec {spec.name} has {needs}; simulate it again"
            )


def _too_few(dataset: DataSet, why: str) -> DataSetError:
    return DataSetError(
        f"{dataset.path}: too few episodes: its {len(dataset)} episodes {why};"
        f" make more with `faultline simulate --dataset FILE --episodes 4096`"
    )


def _windows(dataset: DataSet, numbers: NDArray[np.int64], spec: SignalSpec, seed: int | None = None) -> Windows:
    """Return the windows of episodes: the instructive ones if a seed is given, else all."""
    return Windows.joined([Windows.empty(spec), *_parts(dataset, numbers, spec, seed)])


def _parts(
    dataset: DataSet, numbers: NDArray[np.int64], spec: SignalSpec, seed: int | None = None
) -> Iterator[Windows]:
    for held, episodes in dataset.episodes(numbers):
        windows = select(episodes, spec, seed=None if seed is None else seed + int(held[0]))
        yield replace(windows, episode=held[windows.episode])


def _source(dataset: DataSet, parts: Mapping[str, NDArray[np.int64]]) -> dict[str, Any]:
    with dataset.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "file": dataset.path.name,
        "sha256": digest,
        "recipe": dataset.recipe.model_dump(mode="json", exclude={"channels", "classes"}),
        "episodes": {name: len(part) for name, part in parts.items()},
    }
