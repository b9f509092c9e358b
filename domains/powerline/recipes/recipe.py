"""The recipes of power lines as the generic machine sees them: one for `line`, one for `instant`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from domains.powerline.spec import power_line_spec
from model.artefact import Artefact
from model.errors import SpecError
from model.spec import SignalSpec
from training.data.classifier import Baseline, Classifier
from training.data.episodes import Episodes
from training.data.windows import Windows
from training.errors import TrainingError
from training.evaluation.conditions.condition import Conditions
from training.fitting.defaults import DEFAULT_ARCHITECTURE, DEFAULT_SEED
from training.gate.thresholds import GateThresholds
from training.memory_need import MemoryNeed
from training.recipe import EvaluationOptions, Recipe, TrainOptions

if TYPE_CHECKING:  # these load TensorFlow or the report's machinery, which a process that only asks need not
    from training.evaluation.documents import Events, Rejection
    from training.evaluation.evaluation import Evaluation, Progress

__all__ = ["InstantRecipe", "LineRecipe", "PowerLineRecipe", "recipe"]


def recipe(spec: SignalSpec) -> PowerLineRecipe:
    """Return the recipe of a spec by its name, or that of `line` for windows like those of `line`.

    Raises:
        SpecError: the simulator's records cannot be cut into windows of the spec.
    """
    if spec.name == "instant":
        return InstantRecipe(spec)
    _check_simulated(spec)
    return LineRecipe(spec)


class PowerLineRecipe(Recipe):
    """Words that all models of power lines share."""

    def window_words(self) -> str:
        """Return how many cycles a window has, and how they are sampled."""
        per_cycle = power_line_spec(self.spec).samples_per_cycle
        cycles = self.spec.samples / per_cycle
        return f"{cycles:g} {'cycle' if cycles == 1 else 'cycles'} at {per_cycle} samples a cycle"

    def limits(self, events: Events | None, source: str) -> tuple[str, ...]:
        """Return that a model is no trip relay, and that no recording of a real line is in its evaluation."""
        if events is None:
            told = "Not a trip relay, and not an event detector: 0 events were scored, only single windows."
        else:
            cycles, _ = events.delay("p95")
            nominal_hz = power_line_spec(self.spec).nominal_hz
            told = (
                f"Not a trip relay: an event is confirmed {cycles:.2f} cycles"
                f" ({1000 * cycles / nominal_hz:.0f} ms at {nominal_hz:g} Hz) after inception in"
                f" 95 % of the cases, before any message is sent."
            )
        return told, f"0 recordings of real lines are in this evaluation; its source: {source}."


class LineRecipe(PowerLineRecipe):
    """Simulates lines, or reads a data set of them; evaluates on fresh ones and under conditions."""

    rule = "openxda"
    preparing = "simulating"

    @property
    def conditions(self) -> Conditions:
        """Return the conditions of the measurement and of the network."""
        from domains.powerline.conditions import CONDITIONS

        return CONDITIONS

    @property
    def baselines(self) -> Mapping[str, Baseline]:
        """Return openXDA's rule and a logistic regression."""
        from domains.powerline.baselines import BASELINES

        return BASELINES

    def train(
        self, options: TrainOptions, feedback: Windows | None = None, champion: Artefact | None = None
    ) -> Artefact:
        """Train by simulated episodes, or by those of the data set ``options.data``.

        Raises:
            TrainingError: both a data set and a number of episodes are given.
            DataSetError: the data set cannot be read, does not fit the spec or has too few episodes.
        """
        from domains.powerline.recipes.line import LineOptions, train_line

        if options.data is not None and options.episodes is not None:
            raise TrainingError("--episodes are those to simulate; with --data, all of the data set are used")
        default = LineOptions()
        lines = options.most_test_lines or default.test_lines
        asked = LineOptions(
            seed=DEFAULT_SEED if options.seed is None else options.seed,
            epochs=options.epochs or default.epochs,
            episodes=options.episodes or default.episodes,
            test_lines=min(default.test_lines, lines),
            architecture=options.architecture or DEFAULT_ARCHITECTURE,
            data=options.data,
            patience=options.patience,
            work_dir=options.work_dir,
            show_progress=options.show_progress,
            on_epoch=options.on_epoch,
        )
        return train_line(asked, feedback, champion)

    def epochs(self, options: TrainOptions, *, warm: bool) -> int:
        """Return the epochs of all rounds."""
        from domains.powerline.recipes.line import LineOptions, epochs_of_line

        return epochs_of_line(options.epochs or LineOptions.epochs, warm=warm)

    def evaluation(self, options: EvaluationOptions, step: Progress) -> Callable[[Classifier, Artefact], Evaluation]:
        """Simulate the scenarios that models are evaluated on."""
        from domains.powerline.evaluation.line import evaluate_line_model, line_scenarios

        step(f"simulating {options.lines} lines")
        scenarios = line_scenarios(options.lines, options.seed)
        return lambda classify, artefact: evaluate_line_model(classify, artefact, scenarios, options.seed, step)

    def memory(self, evaluation_lines: int) -> MemoryNeed:
        """Return the memory that a training by simulated episodes takes."""
        from domains.powerline.recipes.memory import line_memory

        return line_memory(evaluation_lines)

    def clean_records(self, n: int, seed: int) -> Episodes:
        """Simulate records as good instruments have them."""
        from domains.powerline.conditions.records import resimulated

        return resimulated(n, seed)

    def thresholds(self) -> GateThresholds:
        """Return the limits of `line`."""
        from domains.powerline.recipes.thresholds import LineThresholds

        return LineThresholds()

    def rejection(self, artefact: Artefact, options: EvaluationOptions) -> Rejection | None:
        """Measure how much of good windows and of input that no line sends the bounds refuse."""
        from domains.powerline.evaluation.ood import measured_rejection

        return measured_rejection(artefact, options.seed, options.data)


class InstantRecipe(PowerLineRecipe):
    """Learns single instants of ``classData.csv``, and evaluates on the part of it that was not learned."""

    needs_data = "classData.csv"

    def train(
        self, options: TrainOptions, feedback: Windows | None = None, champion: Artefact | None = None
    ) -> Artefact:
        """Train on both splits; the split asked for, or the blocks in time, gives the model.

        Raises:
            TrainingError: the data are not given.
            DataSetError: they are not ``classData.csv``.
        """
        from domains.powerline.recipes.instant import InstantOptions, train_instant

        if options.data is None:
            raise TrainingError(f"spec {self.spec.name} needs --data, the path of {self.needs_data}")
        asked = InstantOptions(
            options.data,
            seed=DEFAULT_SEED if options.seed is None else options.seed,
            epochs=options.epochs or InstantOptions.epochs,
            # What the gate judges by, where nothing was asked for.
            split="random" if options.split == "random" else "blocks",
            architecture=options.architecture or DEFAULT_ARCHITECTURE,
            patience=options.patience,
            work_dir=options.work_dir,
            show_progress=options.show_progress,
            on_epoch=options.on_epoch,
        )
        return train_instant(asked)

    def epochs(self, options: TrainOptions, *, warm: bool) -> int:
        """Return the epochs of both splits."""
        from domains.powerline.recipes.instant import InstantOptions

        return 2 * (options.epochs or InstantOptions.epochs)

    def evaluation(self, options: EvaluationOptions, step: Progress) -> Callable[[Classifier, Artefact], Evaluation]:
        """Evaluate on the test part of the split that a model was trained with."""
        from domains.powerline.evaluation.instant import evaluate_instant_model

        data = options.data
        if data is None:
            raise TrainingError("the report of an instant model needs --data, the path of classData.csv")
        return lambda classify, artefact: evaluate_instant_model(classify, artefact, data, step)

    def thresholds(self) -> GateThresholds:
        """Return the limits of `instant`."""
        from domains.powerline.recipes.thresholds import InstantThresholds

        return InstantThresholds()

    def check_comparable(self, artefact: Artefact, champion: Artefact) -> None:
        """Raise TrainingError where the two learned other rows: each would be evaluated on the other's."""
        if _rows(artefact) != _rows(champion):
            raise TrainingError(
                f"the model was trained on the split {_rows(artefact)}, the champion on {_rows(champion)}: train both"
                " with the same --split and --seed to compare them"
            )


def _rows(artefact: Artefact) -> str:
    """Return which rows of ``classData.csv`` an `instant` model has learned: its split and the seed of that."""
    manifest = artefact.manifest
    return f"{manifest.metrics.get('split')}, seed {manifest.provenance.get('seed')}"


def _check_simulated(spec: SignalSpec) -> None:
    """Raise SpecError where the simulator's records cannot be cut into windows of ``spec``."""
    from domains.powerline.simulator.faults import CLASSES
    from domains.powerline.simulator.measurement import CHANNELS
    from domains.powerline.simulator.network import SAMPLES_PER_CYCLE

    if spec.channels != CHANNELS or spec.class_names != CLASSES or spec.period_samples != SAMPLES_PER_CYCLE:
        raise SpecError(
            f"lines are simulated for windows like those of spec 'line', which {spec.name!r} has not:"
            f" channels {' '.join(CHANNELS)}, {SAMPLES_PER_CYCLE} samples a cycle, twelve classes"
        )
    if spec.samples > SAMPLES_PER_CYCLE:
        raise SpecError(f"spec {spec.name!r}: windows longer than the first cycle, which is before any fault")
