"""Cross-validation by episodes, in small: the training and evaluation data of a fold, and its resumption."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from domains.powerline.evaluation.events import score_disturbances, score_faults
from domains.powerline.evaluation.fold_results import Fold, Folds
from domains.powerline.recipes.cross_validation import FoldOptions, _parts, cross_validate, epochs_per_fold, run_fold
from domains.powerline.rejection import PowerLineRejection
from domains.powerline.simulator.disturbances import NON_FAULTS
from faultline.cli import app
from faultline.cli.commands import register
from model.spec import load_spec
from stream.detection.classify import with_rejection
from training.errors import TrainingError

SPEC = load_spec("line")
TINY = FoldOptions(folds=2, seed=3, epochs=3, episodes=160, lines=2, usual_episodes=8)


def always(name: str) -> object:
    row = np.zeros(len(SPEC.classes), np.float32)
    row[SPEC.class_names.index(name)] = 1
    return lambda windows: np.tile(row, (*windows.shape[:2], 1))


def test_a_fold_learns_from_all_parts_but_those_of_its_group(tmp_path: Path) -> None:
    own, others = (_parts(TINY, 1, SPEC, tmp_path, inside=inside) for inside in (True, False))
    left_out, learned = ({int(number) for part in parts for number in part.episode} for parts in (own, others))
    assert not left_out & learned
    assert len(left_out) + len(learned) == TINY.episodes
    of_the_other, _ = (_parts(TINY, 2, SPEC, tmp_path, inside=inside) for inside in (True, False))
    assert {int(number) for part in of_the_other for number in part.episode} == learned


@pytest.mark.long
@pytest.mark.slow
def test_folds_are_run_once_and_summed_up(tmp_path: Path) -> None:
    told: list[int] = []
    found = cross_validate(TINY, tmp_path, lambda number, history: told.append(number))
    assert told == [1] * epochs_per_fold(TINY) + [2] * epochs_per_fold(TINY)
    assert [fold.fold for fold in found.folds] == [1, 2]
    for fold in found.folds:
        assert fold.windows["training"] > fold.windows["validation"] > 0
        assert fold.held_out_all.windows > fold.held_out_faults.windows > 0
        assert fold.usual_all.windows > fold.usual_faults.windows > 0
        assert fold.disturbances.dealt.keys() == NON_FAULTS.keys()
        assert fold.faults.injected > 0
    assert found.folds[0].held_out_all != found.folds[1].held_out_all
    spread = found.spread["held out, all: macro-F1"]
    assert spread.mean == pytest.approx(np.mean([f.held_out_all.macro_f1 for f in found.folds]), abs=1e-5)
    assert cross_validate(TINY, tmp_path, lambda number, history: pytest.fail("trained again")) == found


@pytest.mark.long
@pytest.mark.slow
def test_faultline_folds_runs_one_by_hand_and_takes_it_up_in_the_table_of_all(tmp_path: Path) -> None:
    if not app.registered_commands:
        register(app)
    out, work = tmp_path / "folds.json", tmp_path / "work"
    options = ["--work-dir", str(work), "--folds", "2", "--epochs", "3", "--episodes", "160", "--lines", "1"]
    result = CliRunner().invoke(app, ["folds", *options, "--fold", "2", "--json", str(out)])
    assert result.exit_code == 0, result.output
    assert "fold 2" in result.output
    second = Fold.model_validate_json(out.read_text())
    result = CliRunner().invoke(app, ["folds", *options, "--json", str(out)])
    assert result.exit_code == 0, result.output
    assert "mean ± deviation" in result.output
    assert Folds.model_validate_json(out.read_text()).folds[1] == second


def test_results_of_other_options_are_not_taken_for_ones_own(tmp_path: Path) -> None:
    (tmp_path / "fold-1.json").write_text("{}")
    with pytest.raises(TrainingError, match="not the result of a fold; remove it"):
        run_fold(TINY, 1, tmp_path)
    with pytest.raises(TrainingError, match="no fold 3; choose 1 to 2"):
        run_fold(TINY, 3, tmp_path)
    with pytest.raises(TrainingError, match="use more --episodes"):
        FoldOptions(folds=5, episodes=20)


def test_sixty_disturbances_are_an_hour_and_all_kinds_occur() -> None:
    silent = score_disturbances(always("none"), SPEC, seed=1, lines=1)  # type: ignore[arg-type]
    assert silent.alarms == {}
    assert silent.alarms_per_line_hour == 0
    assert silent.dealt.keys() == NON_FAULTS.keys()
    assert silent.line_hours == pytest.approx(sum(silent.dealt.values()) / 60, abs=1e-3)
    assert 0 < silent.quiet_hours < 64 / 3600


def test_a_classifier_that_cries_all_the_time_has_its_alarm_in_the_quiet_counted_for_the_whole_hour() -> None:
    crying = score_disturbances(always("AG"), SPEC, seed=1, lines=1)  # type: ignore[arg-type]
    assert crying.alarms == {"quiet": 1}  # one endless episode, which opens in the first, quiet second
    assert crying.alarms_per_line_hour > 1 / crying.line_hours


def test_a_silent_classifier_misses_all_faults_and_has_no_delay() -> None:
    found = score_faults(always("none"), SPEC, seed=1, lines=1)  # type: ignore[arg-type]
    assert found.injected == found.missed > 0
    assert found.delay_cycles_p95 is None


def test_out_of_distribution_windows_are_answered_with_no_fault() -> None:
    bounds = PowerLineRejection.for_spec(SPEC, most_current=10, most_voltage=10, least_change=0, most_roughness=None)
    windows = np.stack([np.full(SPEC.window_shape, level, np.float32) for level in (1, 100)])[None]
    said = with_rejection(always("AG"), bounds, SPEC)(windows)  # type: ignore[arg-type]
    assert said[0].argmax(axis=1).tolist() == [SPEC.class_index("AG"), SPEC.none_index]
