"""Train an `instant` artefact on ``classData.csv``: the recipe of ``faultline train --spec instant``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from domains.powerline.data.classdata import Split, read_classdata, split_classdata
from model.architectures import build
from model.artefact import Artefact
from model.normalisation import Normalisation
from model.spec import SignalSpec, load_spec
from training.data.windows import Windows
from training.fitting.defaults import DEFAULT_ARCHITECTURE, DEFAULT_SEED
from training.fitting.fit import (
    FitHistory,
    FitOptions,
    fit,
    fit_temperature,
    logits_of,
    make_repeatable,
    stay_on_one_core,
)
from training.fitting.manifests import (
    changed_options,
    history_record,
    rounded,
    trained_artefact,
    training_scores,
    validation_scores,
)
from training.metrics import window_scores

# Protocol of the reference report: batches of 32, 50 epochs. Learning rate and clipping were chosen on validation data.
REFERENCE = FitOptions(epochs=50, batch=32, learning_rate=1e-2, final_rate=0.003, select_by="accuracy")


@dataclass(frozen=True)
class InstantOptions:
    """Options of ``faultline train --spec instant``."""

    data: Path
    seed: int = DEFAULT_SEED
    epochs: int = REFERENCE.epochs
    split: Split = "random"
    architecture: str = DEFAULT_ARCHITECTURE
    patience: int | None = None  # epochs without improvement after which training ends
    work_dir: Path | None = None  # folder of checkpoints, from which a killed training resumes
    show_progress: bool = True
    on_epoch: Callable[[FitHistory], None] | None = None  # called after every epoch with the epochs of the fit so far

    @property
    def command(self) -> str:
        """The command that trains the same model again."""
        given = f"--data {self.data.name} --split {self.split} --seed {self.seed} --epochs {self.epochs}"
        asked = changed_options(self.architecture, self.patience)
        return f"faultline train --spec instant{asked} --out instant.safetensors {given}"


def train_instant(options: InstantOptions) -> Artefact:
    """Fit the reference report's network to ``classData.csv`` on both splits, and score both.

    Returns:
        The artefact of the chosen split. Its manifest holds the scores of both splits.

    Raises:
        DataSetError: the file is not ``classData.csv``.
    """
    spec = load_spec("instant")
    windows = read_classdata(options.data, spec)
    stay_on_one_core()
    scores: dict[str, Any] = {}
    kept: tuple[Any, Normalisation, float, float] | None = None
    splits: tuple[Split, ...] = ("random", "blocks")
    how = replace(
        REFERENCE,
        epochs=options.epochs,
        seed=options.seed,
        patience=options.patience,
        show_progress=options.show_progress,
    )
    for split in splits:
        train, validation, test = split_classdata(windows, split, options.seed)
        checkpoint = options.work_dir / f"instant-{split}.npz" if options.work_dir else None
        network, normalisation, history = fit_reference(
            options.architecture, spec, train, validation, how, checkpoint, options.on_epoch
        )
        temperature = fit_temperature(logits_of(network, validation.data), validation.labels)
        y_pred = logits_of(network, test.data).argmax(axis=1)
        scores[split] = {
            "training": training_scores(network, train, spec),
            "validation": validation_scores(history),
            "history": history_record([history]),
            "test": rounded(window_scores(test.labels, y_pred, spec)),
            "rows": {"training": len(train), "validation": len(validation), "test": len(test)},
        }
        if split == options.split:
            kept = network, normalisation, temperature, history.seconds
    assert kept is not None
    network, normalisation, temperature, fitting_s = kept
    return trained_artefact(
        network,
        spec,
        options,
        normalisation=normalisation,
        temperature=temperature,
        metrics={"split": options.split, **scores},
        fitting_s=fitting_s,
    )


def fit_reference(
    architecture: str,
    spec: SignalSpec,
    train: Windows,
    validation: Windows,
    options: FitOptions,
    checkpoint: Path | None = None,
    on_epoch: Callable[[FitHistory], None] | None = None,
) -> tuple[Any, Normalisation, FitHistory]:
    """Fit a network by the protocol of the reference report, scaled by the training part's statistics alone.

    Returns:
        The network with the weights of its best epoch, its normalisation, and the history of the training.
    """
    make_repeatable(options.seed)
    normalisation = Normalisation.fitted(train.data)
    network = build(architecture, spec, normalisation, options.seed)
    return network, normalisation, fit(network, train, validation, spec, options, checkpoint, on_epoch)
