"""Recipes: how a domain trains and evaluates the models of a spec. ``model.domain.domain_of(spec).recipe(spec)``.

The machine asks a recipe for what depends on the signal: training, evaluation, conditions, baselines, thresholds and a
few words of the report. ``training.window_recipe.WindowRecipe`` does most of it for a domain that has labelled windows.
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
from training.data.windows import Windows
from training.errors import TrainingError
from training.evaluation.conditions.condition import Conditions
from training.gate.thresholds import GateThresholds

if TYPE_CHECKING:  # these load TensorFlow or the report's machinery, which a process that only asks need not
    from training.evaluation.documents import Events, Rejection
    from training.evaluation.evaluation import Evaluation, Progress
    from training.fitting.fit import FitHistory

__all__ = ["EvaluationOptions", "Recipe", "TrainOptions", "named_recipe", "recipe_of", "trainable_specs"]

EVALUATION_SEED = 47_000_000  # beyond every seed that training, mining and its own test use


@dataclass(frozen=True)
class TrainOptions:
    """What a training was asked for; None means the recipe's own choice, and a recipe ignores what it has not."""

    seed: int | None = None
    epochs: int | None = None
    episodes: int | None = None
    architecture: str | None = None
    data: Path | None = None  # what is learned from instead of, or for want of, a simulation
    split: str | None = None  # of the data, where the recipe has several
    patience: int | None = None  # epochs without a better one after which a fit ends
    most_test_lines: int | None = None  # the recipe's own test has no more lines than these
    work_dir: Path | None = None  # of checkpoints: a killed training goes on from there
    show_progress: bool = True
    on_epoch: Callable[[FitHistory], None] | None = None  # called after every epoch with a fit's epochs so far


@dataclass(frozen=True)
class EvaluationOptions:
    """What a report is to be measured on."""

    seed: int
    lines: int
    data: Path | None = None


class Recipe(ABC):
    """How models of one spec are made and evaluated. Methods import what they need when they are called.

    Args:
        spec: of the models.
    """

    rule: str | None = None
    """Name of the baseline that the gate compares the mean of all conditions with."""
    needs_data: str | None = None
    """What the file is called without which nothing can be trained; None where the recipe needs none."""
    evaluation_seed: int = EVALUATION_SEED
    preparing: str = ""
    """What a training does before its first epoch, for a progress line."""

    def __init__(self, spec: SignalSpec) -> None:
        self.spec = spec

    @property
    def conditions(self) -> Conditions:
        """Return the conditions of the robustness evaluation; without any a report has no such section."""
        return Conditions()

    @property
    def baselines(self) -> Mapping[str, Baseline]:
        """Return the fixed classifiers to beat under the conditions, by name."""
        return {}

    def require_data(self, data: Path | None, hint: str) -> None:
        """Raise TrainingError with ``hint`` where the recipe needs data that are not given."""
        if data is None and self.needs_data is not None:
            raise TrainingError(f"spec {self.spec.name} is trained on {self.needs_data}: {hint}")

    @abstractmethod
    def train(
        self, options: TrainOptions, feedback: Windows | None = None, champion: Artefact | None = None
    ) -> Artefact:
        """Train a model.

        Args:
            options: see TrainOptions.
            feedback: labelled windows of production to learn from too, where the recipe can.
            champion: a model of this spec to go on from instead of random weights, where the recipe can.

        Raises:
            TrainingError: it cannot be trained so.
            DataSetError: the data cannot be read.
        """

    @abstractmethod
    def epochs(self, options: TrainOptions, *, warm: bool) -> int:
        """Return how many epochs ``train`` reports to ``options.on_epoch``; ``warm``: with a champion to go on from."""

    @abstractmethod
    def evaluation(self, options: EvaluationOptions, step: Progress) -> Callable[[Classifier, Artefact], Evaluation]:
        """Prepare what models are evaluated on, once for candidate and champion, and return how one is evaluated.

        Args:
            options: see EvaluationOptions.
            step: called with what is being done.

        Raises:
            TrainingError: the evaluation needs data that were not given.
        """

    def clean_records(self, n: int, seed: int) -> Episodes:
        """Return ``n`` records as training knows them, which the conditions alter.

        Raises:
            TrainingError: the recipe has none.
        """
        raise TrainingError(f"the recipe for spec {self.spec.name!r} has no records to alter, and so no conditions")

    def thresholds(self) -> GateThresholds:
        """Return the limits of the gate, as the settings have them."""
        return GateThresholds()

    def rejection(self, artefact: Artefact, options: EvaluationOptions) -> Rejection | None:
        """Return how much input the artefact's bounds refuse; None where that is not measured."""
        return None

    def check_comparable(self, artefact: Artefact, champion: Artefact) -> None:
        """Raise TrainingError where a model cannot be compared with the champion for the way they were trained."""
        return

    def window_words(self) -> str:
        """Return how long a window lasts, for the report."""
        return f"{1000 * self.spec.samples / self.spec.rate_hz:.3g} ms at {self.spec.rate_hz:g} samples a second"

    def limits(self, events: Events | None, source: str) -> tuple[str, ...]:
        """Return where not to rely on a model of this spec, for the report; each sentence names a number."""
        if events is None:
            told = "Not an event detector: 0 events were scored, only single windows."
        else:
            delay, unit = events.delay("p95")
            told = f"An event is confirmed {delay:.2f} {unit} after inception in 95 % of the cases."
        return told, f"Measured on 1 source: {source}."


def trainable_specs() -> tuple[str, ...]:
    """Return the names of the specs that ship with an installed domain which has a recipe for them."""
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
        spec: by whose name and domain it is found.
        wanted: what the message says is missing.

    Raises:
        TrainingError: there is none; the message names the specs that have one.
    """
    if spec.name in trainable_specs():
        with suppress(SpecError):
            return cast("Recipe", domain_of(spec).recipe(spec))
    raise _missing(spec.name, wanted)


def named_recipe(spec: str) -> Recipe:
    """Return the recipe of a spec by its name.

    Raises:
        TrainingError: there is none; the message names the specs that have one.
    """
    if spec not in trainable_specs():
        raise _missing(spec, "recipe")
    return recipe_of(load_spec(spec))


def _missing(spec: str, wanted: str) -> TrainingError:
    return TrainingError(f"there is no {wanted} for spec {spec!r}; choose {' or '.join(trainable_specs())}")
