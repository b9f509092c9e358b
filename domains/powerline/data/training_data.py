"""Provide training and evaluation data of a `line` model, from lives simulated for it or from a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from domains.powerline.data.datasets import DataSet, open_dataset
from domains.powerline.data.hold_out import HELD_OUT, splits
from domains.powerline.data.line_sequences import (
    INSTRUMENTS,
    KINDS,
    LIVES,
    PART,
    STEPS,
    Lives,
    hard_sequences,
    natural_sequences,
    training_part,
)
from model.spec import SignalSpec
from training.data.classifier import Classifier, Search
from training.data.episodes import Episodes
from training.data.sequences import Sequences, samples_of
from training.data.windows import label_windows, learned_weights
from training.errors import DataSetError
from training.progress import progress_bar

log = structlog.get_logger(__name__)

# Share of the sequences that a search repeats: those that the first round gets most wrong.
HARD_SHARE = 0.2
# Sequences of the calibration and of the test that is part of the training.
EVALUATED_SEQUENCES = 600
# Maximum number of evaluated episodes in a part of a data set: all their windows are kept, about 150 per episode.
MOST_EVALUATED = 400
EVALUATED = ("calibration", "test", *(f"held-out-{band}" for band in HELD_OUT))


@dataclass(frozen=True)
class Seeds:
    """Seeds of all random parts of a training, derived from the given one."""

    training: int

    @property
    def validation(self) -> int:
        """Return the seed of the validation sequences."""
        return self.training + 6_000_000

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
        seeds = (self.training, self.validation, self.calibration, self.rejection, self.test)
        return {seed + extra for seed in seeds for extra in (0, 1)}


@dataclass(frozen=True)
class TrainingData:
    """Sequences of a training.

    Attributes:
        train: sequences to learn from, in parts of similar composition.
        validation: sequences of other lives.
        calibration: sequences of further lives, whose windows have their natural frequency.
        test: sequences of yet other lives, whose windows have their natural frequency.
        held_out: sequences of each held-out band, which none of the other parts contains.
        source: origin of the data for the manifest; None if simulated.
    """

    train: Sequence[Sequences]
    validation: Sequences
    calibration: Sequences
    test: Sequences
    held_out: Mapping[str, Sequences] = field(default_factory=dict)
    source: Mapping[str, Any] | None = None


def part_sizes(count: int, groups: int = 1) -> list[int]:
    """Return the sizes of the parts of ``count`` sequences: at most ``PART``, and enough parts for all kinds of lives.

    Args:
        count: number of sequences.
        groups: number of groups that the parts are dealt to, each of which needs all kinds of lives.
    """
    fewest = len(KINDS) * len(INSTRUMENTS) * groups
    size = min(PART, max(1, count // fewest))
    return [size] * (count // size) + ([count % size] if count % size else [])


def simulate_training_data(
    count: int,
    spec: SignalSpec,
    seeds: Seeds,
    folder: Path | None = None,
    *,
    lives: Lives = LIVES,
    show_progress: bool = False,
) -> TrainingData:
    """Simulate ``count`` sequences to learn from, and those of validation, calibration and test.

    Args:
        count: number of sequences to learn from.
        spec: spec of the windows.
        seeds: seeds of the training.
        folder: folder in which sequences are kept, so that a resumed training does not simulate them again.
        lives: distribution of the lives.
        show_progress: True to show a progress bar if standard error is a terminal.
    """
    sizes = part_sizes(count)
    train = []
    with progress_bar(wanted=show_progress) as bar:
        task = bar.add_task("simulating", total=count, state="")
        for number, size in enumerate(sizes):
            train.append(training_part(number, size, spec, seeds.training, folder, lives))
            bar.update(task, advance=size, state=f"{sum(map(len, train)):,} sequences")
    log.info("training-sequences-simulated", sequences=count, parts=len(sizes))
    calibration, test = (
        natural_sequences(EVALUATED_SEQUENCES, spec, seed, lives=lives) for seed in (seeds.calibration, seeds.test)
    )
    return TrainingData(train, validation_sequences(sizes[0], spec, seeds, folder, lives), calibration, test)


def validation_sequences(
    size: int, spec: SignalSpec, seeds: Seeds, folder: Path | None = None, lives: Lives = LIVES
) -> Sequences:
    """Return sequences of all kinds of lives, a quarter as many as that many parts of ``size`` have."""
    kinds = range(len(lives.kinds) * len(lives.instruments))
    own = [training_part(k, -(-size // 4), spec, seeds.validation, folder, lives) for k in kinds]
    return Sequences.joined(own)


def search_among(parts: Sequence[Sequences], spec: SignalSpec) -> Search:
    """Return a search for the hardest sequences of ``parts``."""

    def search(done: int, _: int, classify: Classifier) -> Sequences:
        found = [hard_sequences(part, classify, spec, max(1, round(HARD_SHARE * len(part)))) for part in parts]
        log.info("hard-sequences-found", round=done, sequences=sum(map(len, found)))
        return Sequences.joined([Sequences.empty(spec, STEPS), *found])

    return search


def read_training_data(path: Path, spec: SignalSpec, seed: int) -> TrainingData:
    """Read a data set's parts, which share no episode; the held-out bands are in none of the other parts.

    Raises:
        DataSetError: the file is not a data set, its windows do not fit ``spec``, or it has too few episodes.
    """
    dataset = open_dataset(path)
    _fits(dataset, spec)
    parts = splits(dataset, seed)
    if empty := [name for name in ("training", "validation", "calibration", "test") if not len(parts[name])]:
        raise _too_few(dataset, f"leave none for {', '.join(empty)}")
    train = list(_parts(dataset, parts["training"], spec, seed))
    labels = [part.labels[part.weights > 0] for part in train]
    if missing := [name for k, name in enumerate(spec.class_names) if not any((part == k).any() for part in labels)]:
        raise _too_few(dataset, f"leave {len(parts['training'])} to learn from, without any {', '.join(missing)}")
    validation = _sequences(dataset, parts["validation"], spec, seed)
    evaluated = {name: _sequences(dataset, parts[name][:MOST_EVALUATED], spec) for name in EVALUATED}
    log.info("data-set-read", episodes=len(dataset), sequences=sum(map(len, train)) + len(validation))
    return TrainingData(
        train,
        validation,
        evaluated["calibration"],
        evaluated["test"],
        held_out={band: evaluated[f"held-out-{band}"] for band in HELD_OUT},
        source=_source(dataset, parts),
    )


def cut_sequences(episodes: Episodes, spec: SignalSpec, first_episode: int, seed: int | None) -> Sequences:
    """Cut records into one sequence each.

    Args:
        episodes: the records.
        spec: spec of the windows.
        first_episode: number of the first record.
        seed: if given, a record gives ``STEPS`` windows from a random one on, weighted for learning. A shorter record
            is filled up with its last sample; these windows have no weight. Otherwise all windows are kept, and their
            weights tell only if a window lies fully in one state.
    """
    labels, weights = label_windows(episodes.labels, episodes.settled, spec)
    numbers = np.arange(first_episode, first_episode + len(episodes))
    if seed is None:
        return Sequences(episodes.samples, labels, weights, numbers)
    steps = labels.shape[1]
    start = np.random.default_rng(seed).integers(0, max(1, steps - STEPS + 1), len(episodes))
    windows = start[:, None] + np.arange(STEPS)
    samples = start[:, None] * spec.hop + np.arange(samples_of(STEPS, spec))
    there = np.minimum(windows, steps - 1)
    weights = np.where(windows < steps, np.take_along_axis(learned_weights(weights, episodes, spec), there, axis=1), 0)
    last = episodes.samples.shape[1] - 1
    return Sequences(
        np.take_along_axis(episodes.samples, np.minimum(samples, last)[:, :, None], axis=1),
        np.take_along_axis(labels, there, axis=1),
        weights.astype(np.float32),
        numbers,
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


def _sequences(dataset: DataSet, numbers: NDArray[np.int64], spec: SignalSpec, seed: int | None = None) -> Sequences:
    """Return the sequences of episodes: cut at random if a seed is given, else whole."""
    steps = STEPS if seed is not None else _steps_of(dataset, spec)
    return Sequences.joined([Sequences.empty(spec, steps), *_parts(dataset, numbers, spec, seed)])


def _steps_of(dataset: DataSet, spec: SignalSpec) -> int:
    """Return the number of windows of each of a data set's records."""
    length = round(dataset.recipe.length_cycles * dataset.recipe.samples_per_cycle)
    return max(0, (length - spec.samples) // spec.hop + 1)


def _parts(
    dataset: DataSet, numbers: NDArray[np.int64], spec: SignalSpec, seed: int | None = None
) -> Iterator[Sequences]:
    for held, episodes in dataset.episodes(numbers):
        sequences = cut_sequences(episodes, spec, 0, None if seed is None else seed + int(held[0]))
        yield replace(sequences, episode=held[sequences.episode])


def _source(dataset: DataSet, parts: Mapping[str, NDArray[np.int64]]) -> dict[str, Any]:
    with dataset.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "file": dataset.path.name,
        "sha256": digest,
        "recipe": dataset.recipe.model_dump(mode="json", exclude={"channels", "classes"}),
        "episodes": {name: len(part) for name, part in parts.items()},
    }
