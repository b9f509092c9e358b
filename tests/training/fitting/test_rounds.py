"""Rounds have their share of the epochs, and the mean of the last rounds' weights is the result."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from domains.powerline.recipes.line import AVERAGED_ROUNDS, LINE_FIT, ROUNDS, new_network
from model.architectures import MEMORY_ARCHITECTURE
from model.spec import load_spec
from training.data.sequences import Sequences
from training.fitting.fit import FitHistory
from training.fitting.rounds import Round, epochs_of, fit_rounds

SPEC = load_spec("line")


@pytest.mark.parametrize(
    ("epochs", "expected"), [(9, (2, 3, 2, 1, 1)), (18, (4, 6, 4, 2, 2)), (2, (1, 1, 1, 0, 0)), (1, (1, 1, 0, 0, 0))]
)
def test_rounds_share_the_epochs_and_the_shortest_are_left_out(epochs: int, expected: tuple[int, ...]) -> None:
    assert epochs_of(ROUNDS, epochs) == expected


def test_the_shares_of_the_recipe_are_all_of_the_epochs() -> None:
    assert sum(part.share for part in ROUNDS) == pytest.approx(1, abs=0.02)
    assert len(ROUNDS) > AVERAGED_ROUNDS


@pytest.mark.training
@pytest.mark.parametrize("averaged", [1, 2])
def test_the_result_is_the_mean_of_the_weights_of_the_last_rounds(
    averaged: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = []

    def recorded(network: Any, *given: Any, **named: Any) -> FitHistory:
        # Real fits are tested elsewhere: here, a round leaves its number in all weights.
        network.set_weights([np.full_like(values, len(ends) + 1) for values in network.get_weights()])
        ends.append(len(ends) + 1)
        return FitHistory([0.0], [0.0], [], 1, 0.0)

    monkeypatch.setattr("training.fitting.rounds.fit", recorded)
    network = new_network(MEMORY_ARCHITECTURE, SPEC, 5)
    parts = [Sequences.empty(SPEC, 4)] * 3
    rounds = (Round(1 / 3, 1e-3, 1.0, hard=False),) * 3
    options = replace(LINE_FIT, epochs=3)
    fit_rounds(network, parts, parts[0], SPEC, rounds, options, search=never, averaged=averaged)
    assert ends == [1, 2, 3]
    for values in network.get_weights():
        np.testing.assert_array_equal(values, np.full_like(values, 3 if averaged == 1 else 2.5))


def never(*_: object) -> Sequences:
    raise AssertionError("no round learns from hard sequences")
