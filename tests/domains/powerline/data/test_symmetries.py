"""Augmentation: every transformed window is one that a line could send, and has the class that it is given."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from domains.powerline.baselines import openxda
from domains.powerline.data.symmetries import LINE_SYMMETRIES
from domains.powerline.simulator.episodes import ScenarioMix, simulate
from domains.powerline.simulator.faults import CLASSES
from model.architectures import build
from model.normalisation import Normalisation
from model.spec import load_spec
from training.data.episodes import Episodes
from training.data.windows import select
from training.fitting.fit import logits_of
from training.fitting.steps import Steps

SPEC = load_spec("line")
FORMS = range(len(LINE_SYMMETRIES))


def _faults(*classes: str, count: int = 60, seed: int = 5) -> Episodes:
    return simulate(count, seed, length_cycles=8.0, mix=ScenarioMix(fault_share=1.0, classes=classes))


def _shown(windows: np.ndarray, form: int) -> np.ndarray:
    return LINE_SYMMETRIES.signs[form] * windows[:, :, LINE_SYMMETRIES.channels[form]]


def test_a_rule_without_training_predicts_the_transformed_class_for_a_transformed_window() -> None:
    episodes = _faults(*(name for name in CLASSES if name != "none"), count=200)
    cycle = SPEC.samples
    first, last = episodes.samples[:, :cycle], episodes.samples[:, -cycle:]
    said = openxda(last, first)
    assert len(set(said)) > 6
    for form in FORMS:
        again = openxda(_shown(last, form), _shown(first, form))
        np.testing.assert_array_equal(again, np.array(LINE_SYMMETRIES.classes[form])[said])


@pytest.mark.parametrize("form", FORMS)
def test_phases_keep_their_sequence(form: int) -> None:
    turn = np.exp(2j * np.pi / 3)
    positive = np.array([1, turn**2, turn])
    shown = LINE_SYMMETRIES.signs[form] * positive[list(LINE_SYMMETRIES.channels[form][:3])]
    assert np.isclose(abs(shown @ [1, turn, turn**2]), 3)


def test_a_fault_seen_in_one_phase_alone_is_learned_for_all_phases() -> None:
    known = select(_faults("AG", count=300), SPEC)
    keras.utils.set_random_seed(1)
    network = build("fnn", SPEC, Normalisation(kind="asinh", centre=(0.0,) * 6, scale=(0.5,) * 6), 1)
    steps = Steps(network, keras.optimizers.Adam(3e-3), [known], 64, 1, LINE_SYMMETRIES)
    for epoch in range(8):
        for _ in steps.epoch(epoch):
            pass
    for name in ("BG", "CG"):
        fresh = select(_faults(name, seed=6), SPEC)
        whole = fresh.take((fresh.weights >= 1) & (fresh.labels == CLASSES.index(name)))
        assert (logits_of(network, whole.data).argmax(axis=1) == CLASSES.index(name)).mean() > 0.8
