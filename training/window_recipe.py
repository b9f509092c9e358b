"""Implement a recipe for labelled windows: one fit, one temperature, an evaluation on windows unseen in training.

A domain supplies the windows and, optionally, another network or other options. This class supplies the rest of a
recipe: training with feedback and from a champion, the parts of the report, the gate, and retraining by the sidecar.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from model.artefact import Artefact
from stream.detection.classify import with_rejection
from training.data.classifier import Classifier, classify_single
from training.data.feedback import Feedback, feedback_scores, split_feedback, weighted_feedback
from training.data.windows import Windows, split_by_episode
from training.errors import TrainingError
from training.fitting.defaults import DEFAULT_ARCHITECTURE, DEFAULT_SEED
from training.recipe import EvaluationOptions, Recipe, TrainOptions

if TYPE_CHECKING:  # these import TensorFlow or the report's modules, which looking up a recipe does not need
    from model.normalisation import Normalisation
    from model.rejection import Rejection
    from training.evaluation.evaluation import Evaluation, Progress
    from training.evaluation.robustness import Reference
    from training.fitting.augmentation import Symmetries

__all__ = ["WindowRecipe"]

# Shares of the episodes for training, validation, calibration and the training's own test.
SHARES = (0.7, 0.1, 0.1, 0.1)


@dataclass(frozen=True)
class _Asked:
    """Facts about a training that the manifest records."""

    seed: int
    architecture: str
    command: str


class WindowRecipe(Recipe):
    """Train and evaluate on labelled windows.

    A subclass must implement ``windows``. The other members are defaults for small networks on some ten thousand
    windows.
    """

    default_epochs: int = 12
    default_episodes: int = 600
    evaluation_episodes: int = 200
    learning_rate: float = 3e-3
    batch: int = 64
    symmetries: Symmetries | None = None
    """Transformations under which a window keeps its class, for augmentation."""
    preparing = "preparing windows"

    @abstractmethod
    def windows(self, seed: int, episodes: int, data: Path | None) -> Windows:
        """Return labelled windows of ``episodes`` episodes, numbered in ``Windows.episode``.

        Args:
            seed: the same seed gives the same windows; another seed gives windows of other episodes.
            episodes: number of episodes, or the largest number if they come from a file.
            data: the file that ``needs_data`` names.

        Raises:
            DataSetError: the data cannot be read.
        """

    def evaluation_windows(self, options: EvaluationOptions, artefact: Artefact) -> Windows:
        """Return windows unseen in the model's training, by default those of another seed.

        A recipe whose windows come from one file overrides this with the part of it that the artefact's seed held out.
        """
        return self.windows(options.seed, self.evaluation_episodes, options.data)

    def reference(self, options: EvaluationOptions, artefact: Artefact) -> Reference:
        """Return the windows of the evaluation as clean records; ``conditions`` may be ``window_conditions(spec)``."""
        from training.evaluation.conditions.generic import WindowReference

        windows = self.evaluation_windows(options, artefact)
        return WindowReference(self.spec, windows.take(windows.weights >= 1.0), self.baselines)

    def normalisation(self, train: Windows) -> Normalisation:
        """Return the normalisation of windows: mean and standard deviation of every channel."""
        from model.normalisation import Normalisation

        return Normalisation.fitted(train.data)

    def bounds(self, train: Windows, seed: int) -> Rejection | None:
        """Return the bounds beyond which a window is out of distribution; none by default."""
        return None

    def epochs(self, options: TrainOptions, *, warm: bool) -> int:
        """Return the epochs of the one fit."""
        return options.epochs or self.default_epochs

    def train(
        self, options: TrainOptions, feedback: Feedback | None = None, champion: Artefact | None = None
    ) -> Artefact:
        """Fit a network, calibrate its temperature and score it.

        Args:
            options: see TrainOptions.
            feedback: labelled windows from production; a quarter of their episodes is held out.
            champion: a model of this spec whose weights training starts from; None for random weights.

        Raises:
            TrainingError: there are too few episodes, or a file is given to a recipe that reads none.
            DataSetError: the data cannot be read.
        """
        from model.architectures import build
        from model.artefact import build_model
        from training.fitting.calibration import calibrate
        from training.fitting.fit import FitOptions, fit, logits_of, make_repeatable
        from training.fitting.manifests import (
            history_record,
            rounded,
            trained_artefact,
            training_scores,
            validation_scores,
        )
        from training.fitting.rounds import classifier_of
        from training.metrics import window_scores

        spec = self.spec
        if options.data is not None and self.needs_data is None:
            raise TrainingError(f"spec {spec.name} is not trained on a file: omit {options.data.name}")
        seed = DEFAULT_SEED if options.seed is None else options.seed
        episodes = options.episodes or self.default_episodes
        make_repeatable(seed)
        windows = self.windows(seed, episodes, options.data)
        train, validation, calibration, test = split_by_episode(windows, SHARES, seed)
        own = cast("Windows | None", feedback)  # this recipe has no steps
        parts = split_feedback(own) if own is not None and len(own) else None
        if parts is not None:
            train = Windows.joined([train, weighted_feedback(parts.train, float(train.weights.sum()), seed)])
        if champion is None:
            architecture, normalisation = options.architecture or DEFAULT_ARCHITECTURE, self.normalisation(train)
            network = build(architecture, spec, normalisation, seed)
        else:
            architecture, normalisation = champion.manifest.architecture, champion.manifest.normalisation
            network = build_model(champion)
        how = FitOptions(
            epochs=self.epochs(options, warm=champion is not None),
            batch=self.batch,
            learning_rate=self.learning_rate,
            seed=seed,
            patience=options.patience,
            symmetries=self.symmetries,
            show_progress=options.show_progress,
        )
        checkpoint = None if options.work_dir is None else options.work_dir / f"{spec.name}.npz"
        history = fit(network, train, validation, spec, how, checkpoint, options.on_epoch)
        calibrated = calibrate(
            logits_of(network, calibration.data),
            calibration.labels,
            logits_of(network, test.data),
            test.labels,
            spec,
        )
        bounds = self.bounds(train, seed)
        unguarded = classifier_of(network, calibrated.temperature)
        classify = with_rejection(unguarded, bounds, spec)
        metrics: dict[str, Any] = {
            "test": rounded(window_scores(test.labels, classify_single(classify, test.data).argmax(axis=1), spec)),
            "calibration": calibrated.as_metrics(),
            "validation": validation_scores(history),
            "training": training_scores(network, train, spec),
            "history": history_record([history]),
            "episodes": episodes,
            "windows": {"training": len(train), "validation": len(validation), "test": len(test)},
        }
        if parts is not None:
            scores = feedback_scores(unguarded, parts.hold_out, spec)
            metrics["field"] = {"windows": len(parts.train), "hold_out": scores}
        if champion is not None:
            metrics["warm_start"] = champion.model_id
        return trained_artefact(
            network,
            spec,
            _Asked(seed, architecture, self._command(options, seed, episodes, architecture)),
            normalisation=normalisation,
            temperature=calibrated.temperature,
            metrics=metrics,
            fitting_s=history.seconds,
            rejection=bounds,
        )

    def _command(self, options: TrainOptions, seed: int, episodes: int, architecture: str) -> str:
        """Return the command that reproduces the model."""
        from training.fitting.manifests import changed_options

        name, epochs = self.spec.name, self.epochs(options, warm=False)
        source = f"--episodes {episodes}" if options.data is None else f"--data {options.data.name}"
        asked = changed_options(architecture, options.patience)
        return f"faultline train --spec {name}{asked} --out {name}.safetensors --seed {seed} --epochs {epochs} {source}"

    def evaluation(self, options: EvaluationOptions, step: Progress) -> Callable[[Classifier, Artefact], Evaluation]:
        """Return a function that evaluates on ``evaluation_windows``: hold-out score, slices by class, failures."""
        from training.evaluation.documents import DataSummary, LeakageCheck
        from training.evaluation.evaluation import Evaluation, Predictions, class_slices, repeated_windows, worst
        from training.report.failures import wrong_windows
        from training.report.scores import merged_macro_f1

        def evaluate(classify: Classifier, artefact: Artefact) -> Evaluation:
            spec = self.spec
            step("classifying windows unseen in training")
            windows = self.evaluation_windows(options, artefact)
            windows = windows.take(windows.weights >= 1.0)
            source = f"{len(windows):,} windows of {spec.name}, seed {options.seed}, each lying fully in one state"
            predictions = Predictions(windows.labels, classify_single(classify, windows.data), windows.episode, source)
            step("checking for leakage")
            seed, episodes = artefact.manifest.provenance.get("seed"), artefact.manifest.metrics.get("episodes")
            leakage: tuple[LeakageCheck, ...] = ()
            if isinstance(seed, int) and isinstance(episodes, int):
                training = self.windows(seed, episodes, options.data)
                leakage = (repeated_windows(windows.data, training.data),)
            counts: Any = artefact.manifest.metrics.get("windows") or {}
            return Evaluation(
                predictions=predictions,
                data=DataSummary(
                    training=str(artefact.manifest.provenance.get("command", "not recorded")),
                    evaluation=source,
                    parts={**{str(name): int(count) for name, count in counts.items()}, "evaluation": len(windows)},
                    leakage=leakage,
                ),
                slices=worst(list(class_slices(predictions, spec))),
                failures=wrong_windows(predictions, windows, spec),
                holdout=merged_macro_f1(predictions, spec),
            )

        return evaluate
