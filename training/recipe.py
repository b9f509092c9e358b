"""Define recipes, with which a domain trains and evaluates the models of a spec: ``domain_of(spec).recipe(spec)``.

A recipe supplies everything that depends on the signal: training, evaluation, conditions, baselines, thresholds and a
few sentences of the report. ``training.window_recipe.WindowRecipe`` implements most of it for a domain that has
labelled windows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from model.artefact import Artefact
from model.domain import domain_of, installed_domains, load_domain
from model.errors import SpecError
from model.spec import SignalSpec, load_spec
from training.data.classifier import Baseline, Classifier
from training.data.episodes import Episodes
from training.data.feedback import Feedback
from training.errors import TrainingError
from training.evaluation.conditions.condition import Conditions
from training.gate.thresholds import GateThresholds
from training.memory_need import MemoryNeed

if TYPE_CHECKING:  # these import TensorFlow or the report's modules, which looking up a recipe does not need
    from training.evaluation.documents import Events, Rejection
    from training.evaluation.evaluation import Evaluation, Progress
    from training.evaluation.robustness import Reference
    from training.fitting.fit import FitHistory

__all__ = ["EvaluationOptions", "Recipe", "TrainOptions", "named_recipe", "recipe_of", "trainable_specs"]

EVALUATION_SEED = 47_000_000  # greater than every seed that training, mining and training's own test use


@dataclass(frozen=True)
class TrainOptions:
    """Options of a training; None selects the recipe's default, and a recipe ignores options that it does not have."""

    seed: int | None = None
    epochs: int | None = None
    episodes: int | None = None
    architecture: str | None = None
    data: Path | None = None  # training data in place of a simulation, or for a recipe without one
    split: str | None = None  # split of the data, if the recipe has several
    patience: int | None = None  # a fit ends after this many epochs without improvement
    most_test_lines: int | None = None  # largest number of lines in the recipe's own test
    work_dir: Path | None = None  # folder of checkpoints, from which a killed training resumes
    without: tuple[str, ...] = ()  # conditions whose events and instruments the training data must not contain
    show_progress: bool = True
    on_epoch: Callable[[FitHistory], None] | None = None  # called after every epoch with the fit's epochs so far


@dataclass(frozen=True)
class EvaluationOptions:
    """Data on which a report evaluates a model."""

    seed: int
    lines: int
    data: Path | None = None


class Recipe(ABC):
    """Train and evaluate the models of one spec. Methods import what they need when they are called.

    Args:
        spec: spec of the models.
    """

    rule: str | None = None
    """Name of the baseline that the gate compares the mean of all conditions with."""
    needs_data: str | None = None
    """Name of the file that training requires, for display; None if the recipe needs no file."""
    evaluation_seed: int = EVALUATION_SEED
    """Seed of an evaluation's data unless another one is given."""
    steps: int = 0
    """Number of windows of a sequence from which a network with a memory learns; 0 if it learns from single windows."""
    leaves_out_conditions: bool = False
    """True if ``train`` supports ``TrainOptions.without``."""
    preparing: str = ""
    """Progress text for the time before the first epoch."""

    def __init__(self, spec: SignalSpec) -> None:
        self.spec = spec

    @property
    def conditions(self) -> Conditions:
        """Conditions of the robustness evaluation; without any, a report has no such section."""
        return Conditions()

    @property
    def baselines(self) -> Mapping[str, Baseline]:
        """Fixed classifiers, by name, that a model is compared with under the conditions."""
        return {}

    def require_data(self, data: Path | None, hint: str) -> None:
        """Raise TrainingError with ``hint`` if the recipe needs a file and ``data`` is None."""
        if data is None and self.needs_data is not None:
            raise TrainingError(f"spec {self.spec.name} is trained on {self.needs_data}: {hint}")

    @abstractmethod
    def train(
        self, options: TrainOptions, feedback: Feedback | None = None, champion: Artefact | None = None
    ) -> Artefact:
        """Train a model.

        Args:
            options: see TrainOptions.
            feedback: labelled windows from production as additional training data, if the recipe supports them:
                sequences of ``steps`` windows, or single windows if ``steps`` is 0.
            champion: a model of this spec whose weights training starts from, if the recipe supports it.

        Raises:
            TrainingError: the model cannot be trained with these options.
            DataSetError: the data cannot be read.
        """

    @abstractmethod
    def epochs(self, options: TrainOptions, *, warm: bool) -> int:
        """Return the number of epochs that ``train`` reports to ``options.on_epoch``.

        Args:
            options: see TrainOptions.
            warm: true if training starts from a champion.
        """

    @abstractmethod
    def evaluation(self, options: EvaluationOptions, step: Progress) -> Callable[[Classifier, Artefact], Evaluation]:
        """Prepare the evaluation data, once for candidate and champion, and return a function that evaluates a model.

        Args:
            options: see EvaluationOptions.
            step: called with a progress text at every step.

        Raises:
            TrainingError: the evaluation needs data that were not given.
        """

    def clean_records(self, n: int, seed: int) -> Episodes:
        """Return ``n`` records of the kind that training simulates, which the conditions then alter.

        Raises:
            TrainingError: the recipe has no such records.
        """
        raise TrainingError(f"the recipe for spec {self.spec.name!r} has no records to alter, and so no conditions")

    def clean_lives(self, n: int, seed: int) -> Episodes | None:
        """Return ``n`` longer records, in which several events follow quiet times of any length; None without lives.

        A classifier with a memory could learn when the event of a short record happens. On lives it cannot.
        """
        return None

    def reference(self, options: EvaluationOptions, artefact: Artefact) -> Reference:
        """Return the clean records and baselines of an artefact's robustness; the recipe itself if it simulates them.

        Args:
            options: data of the evaluation.
            artefact: the model to score; a recipe that reads a file leaves out what the model was trained on.

        Raises:
            TrainingError: the records come from a file that was not given.
        """
        return self

    def memory(self, evaluation_lines: int) -> MemoryNeed | None:
        """Return the memory that a training takes; None if it was not measured, and then no training is made smaller.

        Args:
            evaluation_lines: lines that the trained model is evaluated on.
        """
        return None

    def thresholds(self) -> GateThresholds:
        """Return the limits of the gate from the settings."""
        return GateThresholds()

    def rejection(self, artefact: Artefact, options: EvaluationOptions) -> Rejection | None:
        """Measure how much input the artefact's bounds reject; return None if the recipe does not measure that."""
        return None

    def check_comparable(self, artefact: Artefact, champion: Artefact) -> None:
        """Raise TrainingError if two models cannot be compared because of the way in which they were trained."""
        return

    def window_words(self) -> str:
        """Return the duration of a window in words, for the report."""
        return f"{1000 * self.spec.samples / self.spec.rate_hz:.3g} ms at {self.spec.rate_hz:g} samples a second"

    def limits(self, events: Events | None, source: str) -> tuple[str, ...]:
        """Return the report's sentences about the limits of a model of this spec; each one names a number."""
        if events is None:
            timing = "Not an event detector: 0 events were scored, only single windows."
        else:
            delay, unit = events.delay("p95")
            timing = f"An event is confirmed {delay:.2f} {unit} after inception in 95 % of the cases."
        return timing, f"Measured on 1 source: {source}."


def trainable_specs() -> tuple[str, ...]:
    """Return the names of the shipped specs for which an installed domain has a recipe."""
    names = []
    for domain in map(load_domain, installed_domains()):
        for name in domain.specs():
            with suppress(SpecError):
                domain.recipe(load_spec(name))
                names.append(name)
    return tuple(names)


def recipe_of(spec: SignalSpec, wanted: str = "recipe") -> Recipe:
    """Return the recipe of a spec that ships with its domain.

    Args:
        spec: the spec, whose name and domain identify the recipe.
        wanted: name of the missing thing in the error message.

    Raises:
        TrainingError: there is no recipe; the message lists the specs that have one.
    """
    if spec.name in trainable_specs():
        with suppress(SpecError):
            return cast("Recipe", domain_of(spec).recipe(spec))
    raise _missing(spec.name, wanted)


def named_recipe(spec: str) -> Recipe:
    """Return the recipe of a spec by its name.

    Raises:
        TrainingError: there is no recipe; the message lists the specs that have one.
    """
    if spec not in trainable_specs():
        raise _missing(spec, "recipe")
    return recipe_of(load_spec(spec))


def _missing(spec: str, wanted: str) -> TrainingError:
    return TrainingError(f"there is no {wanted} for spec {spec!r}; choose {' or '.join(trainable_specs())}")
