"""The report names what training has seen, the worst condition, and scores without training on a condition."""

from __future__ import annotations

import pytest

from tests.training.report.report_samples import report_data, robustness
from training.report.groups import condition_groups, group_sentence
from training.report.render import draw, html, markdown


def test_groups_are_means_over_levels_and_the_worst_comes_first() -> None:
    zero_shot = robustness("zero-shot").model_copy(update={"cells": robustness().cells[:5], "without": ("noise",)})
    lost, noise = condition_groups(robustness(), zero_shot)
    assert (lost.name, lost.seen, noise.name, noise.seen) == ("lost_channel", False, "noise", True)
    assert noise.records == pytest.approx(0.85)
    assert noise.lives == pytest.approx(0.75)
    assert (noise.zero_shot, lost.zero_shot) == (pytest.approx(0.85), None)
    assert (noise.missed, noise.faults) == (5, 50)
    assert condition_groups(None) == ()


def test_the_sentence_tells_seen_from_unseen_and_names_the_worst() -> None:
    sentence = group_sentence(condition_groups(robustness()))
    assert sentence == (
        "Conditions seen in training (1): mean 0.8500, 0.7500 on lives; conditions never seen (1): mean 0.5500,"
        " 0.4500 on lives. Worst condition: lost channel, 0.450."
    )
    alone = robustness().model_copy(update={"lives": (), "clean_life": None})
    assert "lives" not in group_sentence(condition_groups(alone))


def test_both_pages_show_lives_and_zero_shot_scores_where_they_were_measured() -> None:
    data = report_data().model_copy(update={"zero_shot": robustness("zero-shot")})
    row = "| lost channel | no | 0.5500 | 0.4500 | 0.5500 | 5 of 50 |"
    assert row in markdown(data, draw(data))
    page = html(data, draw(data))
    assert "Clean lives: 0.9800" in page
    assert "Zero-shot" in page
    assert data.conditions is not None
    bare = data.conditions.model_copy(update={"lives": (), "clean_life": None})
    plain = markdown(data.model_copy(update={"zero_shot": None, "conditions": bare}), draw(data))
    assert "| lost channel | no | 0.5500 | 0 of 25 |" in plain
    assert "lives" not in plain.partition("## Conditions")[2].partition("## Worst Slices")[0]
