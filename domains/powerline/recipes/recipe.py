"""Implement the generic interface of recipes for power lines: one recipe for `line`, one for `instant`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from domains.powerline.spec import power_line_spec
from model.artefact import Artefact
from model.errors import SpecError
from model.spec import SignalSpec
from training.data.classifier import Baseline, Classifier
from training.data.episodes import Episodes
from training.data.feedback import Feedback
from training.errors import TrainingError
from training.evaluation.conditions.condition import Conditions
from training.fitting.defaults import DEFAULT_ARCHITECTURE, DEFAULT_SEED
from training.gate.thresholds import GateThresholds
from training.memory_need import MemoryNeed
from training.recipe import EvaluationOptions, Recipe, TrainOptions

if TYPE_CHECKING:  # these imports would load TensorFlow or the report, which many processes do not need
    from training.data.sequences import Sequences
    from training.evaluation.documents import Events, Rejection
    from training.evaluation.evaluation import Evaluation, Progress
    from training.evaluation.robustness import Reference

__all__ = ["InstantRecipe", "LineRecipe", "PowerLineRecipe", "recipe"]


def recipe(spec: SignalSpec) -> PowerLineRecipe:
    """Return the recipe of a spec by its name; other specs get the recipe of `line` if their windows fit it.

    Raises:
        SpecError: the simulator's records cannot be cut into windows of the spec.
    """
    if spec.name == "instant":
        return InstantRecipe(spec)
    _check_simulated(spec)
    return LineRecipe(spec)


class PowerLineRecipe(Recipe):
    """A recipe with the texts that all models of power lines share."""

    def window_words(self) -> str:
        """Return a text with a window's number of cycles and the samples per cycle."""
        per_cycle = power_line_spec(self.spec).samples_per_cycle
        cycles = self.spec.samples / per_cycle
        return f"{cycles:g} {'cycle' if cycles == 1 else 'cycles'} at {per_cycle} samples a cycle"

    def limits(self, events: Events | None, source: str) -> tuple[str, ...]:
        """Return the limits: a model is not a trip relay, and its evaluation contains no recording of a real line."""
        if events is None:
            limit = "Not a trip relay, and not an event detector: 0 events were scored, only single windows."
        else:
            cycles, _ = events.delay("p95")
            nominal_hz = power_line_spec(self.spec).nominal_hz
            limit = (
                f"Not a trip relay: an event is confirmed {cycles:.2f} cycles"
                f" ({1000 * cycles / nominal_hz:.0f} ms at {nominal_hz:g} Hz) after inception in"
                f" 95 % of the cases, before any message is sent."
            )
        return limit, f"0 recordings of real lines are in this evaluation; its source: {source}."


class LineRecipe(PowerLineRecipe):
    """Recipe that trains on simulated lines or a data set, and evaluates on new lines and under conditions."""

    rule = "openxda"
    preparing = "simulating"
    steps = 128
    leaves_out_conditions = True

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
        self, options: TrainOptions, feedback: Feedback | None = None, champion: Artefact | None = None
    ) -> Artefact:
        """Train on simulated episodes, or on those of the data set ``options.data``.

        Raises:
            TrainingError: both a data set and a number of episodes are given, or a condition cannot be left out.
            DataSetError: the data set cannot be read, does not fit the spec or has too few episodes.
        """
        from domains.powerline.recipes.line import LineOptions, train_line

        if options.data is not None and options.episodes is not None:
            raise TrainingError(
                "--data uses all episodes of the data set; leave out --episodes, the number of episodes to simulate"
            )
        default = LineOptions()
        lines = options.most_test_lines or default.test_lines
        asked = LineOptions(
            seed=DEFAULT_SEED if options.seed is None else options.seed,
            epochs=options.epochs or default.epochs,
            episodes=options.episodes or default.episodes,
            test_lines=min(default.test_lines, lines),
            architecture=options.architecture or default.architecture,
            data=options.data,
            patience=options.patience,
            work_dir=options.work_dir,
            show_progress=options.show_progress,
            on_epoch=options.on_epoch,
            without=options.without,
        )
        return train_line(asked, cast("Sequences | None", feedback), champion)

    def epochs(self, options: TrainOptions, *, warm: bool) -> int:
        """Return the number of epochs of all rounds."""
        from domains.powerline.recipes.line import LineOptions, epochs_of_line

        return epochs_of_line(options.epochs or LineOptions.epochs, warm=warm)

    def evaluation(self, options: EvaluationOptions, step: Progress) -> Callable[[Classifier, Artefact], Evaluation]:
        """Simulate the scenarios, and return the evaluation of models on them."""
        from domains.powerline.evaluation.line import evaluate_line_model, line_scenarios

        step(f"simulating {options.lines} lines")
        scenarios = line_scenarios(options.lines, options.seed)
        return lambda classify, artefact: evaluate_line_model(classify, artefact, scenarios, options.seed, step)

    def memory(self, evaluation_lines: int) -> MemoryNeed:
        """Return the memory of a training on simulated episodes."""
        from domains.powerline.recipes.memory import line_memory

        return line_memory(evaluation_lines)

    def clean_records(self, n: int, seed: int) -> Episodes:
        """Simulate records of good instruments."""
        from domains.powerline.conditions.records import resimulated

        return resimulated(n, seed)

    def clean_lives(self, n: int, seed: int) -> Episodes:
        """Simulate lives of 160 cycles with several events each, at the spec's instruments of good quality."""
        from domains.powerline.conditions.records import LIVES, resimulated, simulating

        with simulating(LIVES):
            return resimulated(n, seed)

    def thresholds(self) -> GateThresholds:
        """Return the limits of `line`."""
        from domains.powerline.recipes.thresholds import LineThresholds

        return LineThresholds()

    def rejection(self, artefact: Artefact, options: EvaluationOptions) -> Rejection | None:
        """Measure how often the bounds reject in-distribution windows, and inputs that no line produces."""
        from domains.powerline.evaluation.ood import measured_rejection

        return measured_rejection(artefact, options.seed, options.data)


class InstantRecipe(PowerLineRecipe):
    """Recipe that trains on single instants of ``classData.csv``, and evaluates on its test part."""

    needs_data = "classData.csv"

    def train(
        self, options: TrainOptions, feedback: Feedback | None = None, champion: Artefact | None = None
    ) -> Artefact:
        """Train on both splits, and return the model of the chosen split, by default that of the blocks in time.

        Raises:
            TrainingError: ``options.data`` is missing.
            DataSetError: the file is not ``classData.csv``.
        """
        from domains.powerline.recipes.instant import InstantOptions, train_instant

        if options.data is None:
            raise TrainingError(f"spec {self.spec.name} needs --data, the path of {self.needs_data}")
        asked = InstantOptions(
            options.data,
            seed=DEFAULT_SEED if options.seed is None else options.seed,
            epochs=options.epochs or InstantOptions.epochs,
            # The default is the split that the gate evaluates.
            split="random" if options.split == "random" else "blocks",
            architecture=options.architecture or DEFAULT_ARCHITECTURE,
            patience=options.patience,
            work_dir=options.work_dir,
            show_progress=options.show_progress,
            on_epoch=options.on_epoch,
        )
        return train_instant(asked)

    def epochs(self, options: TrainOptions, *, warm: bool) -> int:
        """Return the number of epochs of both splits together."""
        from domains.powerline.recipes.instant import InstantOptions

        return 2 * (options.epochs or InstantOptions.epochs)

    def evaluation(self, options: EvaluationOptions, step: Progress) -> Callable[[Classifier, Artefact], Evaluation]:
        """Return the evaluation of models on the test part of the split of their training."""
        from domains.powerline.evaluation.instant import evaluate_instant_model

        data = options.data
        if data is None:
            raise TrainingError("the report of an instant model needs --data, the path of classData.csv")
        return lambda classify, artefact: evaluate_instant_model(classify, artefact, data, step)

    @property
    def conditions(self) -> Conditions:
        """Return the conditions of labelled windows, since no simulator makes these instants."""
        from training.evaluation.conditions.generic import window_conditions

        return window_conditions(self.spec)

    def reference(self, options: EvaluationOptions, artefact: Artefact) -> Reference:
        """Return the rows of ``classData.csv`` that the artefact's training held out.

        Raises:
            TrainingError: ``options.data`` is missing.
            DataSetError: the file is not ``classData.csv``.
        """
        from domains.powerline.evaluation.instant import unseen_windows
        from training.evaluation.conditions.generic import WindowReference

        if options.data is None:
            raise TrainingError("the robustness of an instant model needs --data, the path of classData.csv")
        return WindowReference(self.spec, unseen_windows(artefact, options.data))

    def thresholds(self) -> GateThresholds:
        """Return the limits of `instant`."""
        from domains.powerline.recipes.thresholds import InstantThresholds

        return InstantThresholds()

    def check_comparable(self, artefact: Artefact, champion: Artefact) -> None:
        """Check that both models were trained on the same rows.

        Raises:
            TrainingError: the rows differ, so each model would be evaluated on training rows of the other.
        """
        if _rows(artefact) != _rows(champion):
            raise TrainingError(
                f"the model was trained on the split {_rows(artefact)}, the champion on {_rows(champion)}: to compare"
                " them, train both with the same --split and --seed"
            )


def _rows(artefact: Artefact) -> str:
    """Return the split of an `instant` model and its seed, which determine its training rows of ``classData.csv``."""
    manifest = artefact.manifest
    return f"{manifest.metrics.get('split')}, seed {manifest.provenance.get('seed')}"


def _check_simulated(spec: SignalSpec) -> None:
    """Check that the simulator's records can be cut into windows of ``spec``.

    Raises:
        SpecError: the records cannot be cut into such windows.
    """
    from domains.powerline.simulator.faults import CLASSES
    from domains.powerline.simulator.measurement import CHANNELS
    from domains.powerline.simulator.network import SAMPLES_PER_CYCLE

    if spec.channels != CHANNELS or spec.class_names != CLASSES or spec.period_samples != SAMPLES_PER_CYCLE:
        raise SpecError(
            f"the simulator cannot produce windows of spec {spec.name!r}: like 'line', the spec needs the"
            f" channels {' '.join(CHANNELS)}, {SAMPLES_PER_CYCLE} samples per cycle and the twelve classes of 'line'"
        )
    if spec.samples > SAMPLES_PER_CYCLE:
        raise SpecError(
            f"spec {spec.name!r} has windows of {spec.samples} samples: reduce them to {SAMPLES_PER_CYCLE}, one cycle,"
            " since simulated faults may begin after the first cycle"
        )
