"""The gate passes what is good enough and no worse than the champion; better scores never fail it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domains.powerline.recipes.thresholds import InstantThresholds, LineThresholds
from model.spec import load_spec
from training.gate.gate import EventScores, GateScores, GateThresholds, feedback_criterion, gate
from training.recipe import recipe_of

LIMITS = LineThresholds()
GOOD = GateScores(
    holdout=0.995,
    cells={"noise/3": 0.99, "gap/5": 0.8},
    rule_cells={"noise/3": 0.6, "gap/5": 0.5},
    ece=0.01,
    events=EventScores(false_alarms_per_line_hour=5, missed=0.002, delay_cycles_p95=0.9),
)
COUNTED = ("faults", "line_hours")
NAMES = ("noise/3", "gap/5", "gain/1")
share = st.floats(0, 1)
cells = st.dictionaries(st.sampled_from(NAMES), share)
events = st.builds(
    EventScores,
    false_alarms_per_line_hour=st.floats(0, 30),
    missed=share,
    delay_cycles_p95=st.floats(0, 3),
)
scores = st.builds(GateScores, holdout=share, cells=cells, rule_cells=cells, ece=share, events=st.none() | events)
near = st.builds(
    GateScores,
    holdout=st.floats(0.98, 1),
    cells=st.fixed_dictionaries({name: st.floats(0.8, 1) for name in NAMES}),
    rule_cells=st.just({}),
    ece=st.floats(0, 0.025),
    events=st.builds(
        EventScores,
        false_alarms_per_line_hour=st.floats(0, 12),
        missed=st.floats(0, 0.012),
        delay_cycles_p95=st.floats(0.5, 1.05),
        faults=st.none() | st.integers(1, 1000),
        line_hours=st.none() | st.floats(0.01, 10),
    ),
)


def changed(base: GateScores, **values: object) -> GateScores:
    return GateScores.model_validate({**base.model_dump(), **values})


def with_events(base: GateScores, **values: float) -> GateScores:
    assert base.events is not None
    return changed(base, events={**base.events.model_dump(), **values})


def improved(base: GateScores, by: float) -> GateScores:
    """Return scores that are moved by a share ``by`` of the way to perfect."""
    events = base.events and {
        name: value if name in COUNTED or value is None else value * (1 - by)
        for name, value in base.events.model_dump().items()
    }
    return changed(
        base,
        holdout=min(1.0, base.holdout + by * (1 - base.holdout)),
        cells={name: min(1.0, value + by * (1 - value)) for name, value in base.cells.items()},
        ece=base.ece * (1 - by),
        events=events,
    )


@given(near, st.none() | near, st.floats(0, 1))
def test_improving_every_score_never_fails_a_candidate_that_passes(
    candidate: GateScores, champion: GateScores | None, by: float
) -> None:
    before, after = gate(candidate, champion, LIMITS), gate(improved(candidate, by), champion, LIMITS)
    kept = {criterion.name for criterion in before.criteria if criterion.passed}
    assert kept <= {criterion.name for criterion in after.criteria if criterion.passed}
    assert after.passed or not before.passed


@given(scores, st.none() | scores)
def test_a_verdict_passes_exactly_when_all_criteria_do(candidate: GateScores, champion: GateScores | None) -> None:
    verdict = gate(candidate, champion, LIMITS)
    assert verdict.passed == all(criterion.passed for criterion in verdict.criteria)
    assert set(verdict.failed) == {criterion for criterion in verdict.criteria if not criterion.passed}
    assert len({criterion.name for criterion in verdict.criteria}) == len(verdict.criteria)


@given(scores)
def test_a_champion_never_fails_a_comparison_with_itself(champion: GateScores) -> None:
    verdict = gate(champion, champion, LIMITS)
    assert all(criterion.passed for criterion in verdict.criteria if criterion.champion is not None)


@pytest.mark.parametrize(
    ("candidate", "criterion"),
    [
        (changed(GOOD, holdout=0.98), "hold-out score"),
        (changed(GOOD, holdout=0.9915), "hold-out score beside the champion"),
        (changed(GOOD, cells={"noise/3": 0.96, "gap/5": 1.0}), "condition noise/3"),
        (changed(GOOD, cells={"noise/3": 0.99}), "condition gap/5"),
        (changed(GOOD, rule_cells={"noise/3": 1.0, "gap/5": 0.9}), "mean of conditions beside openXDA's rule"),
        (changed(GOOD, ece=0.021), "calibration error"),
        (with_events(GOOD, false_alarms_per_line_hour=10.5), "false alarms"),
        (with_events(GOOD, false_alarms_per_line_hour=7.5), "false alarms beside the champion"),
        (with_events(GOOD, missed=0.011), "missed faults"),
        (with_events(GOOD, missed=0.008), "missed faults beside the champion"),
        (with_events(GOOD, delay_cycles_p95=1.1), "detection delay"),
        (changed(GOOD, events=None), "missed faults"),
    ],
)
def test_each_criterion_alone_can_fail_a_candidate(candidate: GateScores, criterion: str) -> None:
    assert gate(GOOD, GOOD, LIMITS).passed
    verdict = gate(candidate, GOOD, LIMITS)
    assert not verdict.passed
    assert criterion in {failure.name for failure in verdict.failed}


def test_what_chance_explains_is_no_loss_and_what_is_beyond_is_one() -> None:
    lost = changed(GOOD, cells={"noise/3": 0.9, "gap/5": 0.8})
    assert {c.name for c in gate(lost, GOOD, LIMITS).failed} == {
        "condition noise/3",
        "mean of condition noise",
        "mean of conditions beside the champion",
    }
    errors = {"noise/3": 0.04, "noise": 0.04, "all": 0.03}
    assert gate(lost, GOOD, LIMITS, errors).passed
    worse = changed(GOOD, cells={"noise/3": 0.85, "gap/5": 0.8})
    verdict = gate(worse, GOOD, LIMITS, {**errors, "noise": 0.1, "all": 0.1})
    assert [c.text for c in verdict.failed] == [
        "condition noise/3: 0.85 merged macro-F1, at least 0.8916 (champion 0.99, chance ±0.078)"
    ]


def test_a_loss_too_small_for_any_cell_is_found_in_the_means() -> None:
    names = [f"{condition}/{level}" for condition in ("noise", "gap") for level in range(1, 6)]
    champion = changed(GOOD, cells=dict.fromkeys(names, 0.9), rule_cells={})
    candidate = changed(GOOD, cells=dict.fromkeys(names, 0.885), rule_cells={})
    failed = gate(candidate, champion, LIMITS, dict.fromkeys(names, 0.02)).failed
    assert [criterion.name for criterion in failed] == ["mean of conditions beside the champion"]


def test_more_false_alarms_than_the_champion_count_as_far_as_their_number_proves_anything() -> None:
    champion = with_events(GOOD, false_alarms_per_line_hour=0, line_hours=1, faults=300)
    two, seven = (with_events(champion, false_alarms_per_line_hour=count) for count in (4, 7))
    assert gate(two, champion, LIMITS).passed
    assert [c.name for c in gate(seven, champion, LIMITS).failed] == ["false alarms beside the champion"]


def test_a_criterion_tells_value_limit_and_champion_in_its_text() -> None:
    failed = gate(changed(GOOD, cells={"noise/3": 0.965, "gap/5": 0.8}), GOOD, LIMITS, {"all": 1, "noise": 1}).failed
    assert [criterion.text for criterion in failed] == [
        "condition noise/3: 0.965 merged macro-F1, at least 0.97 (champion 0.99)"
    ]


def test_a_model_without_events_has_no_event_criteria() -> None:
    instant = GateScores(holdout=0.83, ece=0.03)
    assert gate(instant, instant, InstantThresholds()).passed
    assert not gate(instant, None, LIMITS).passed


def test_thresholds_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAULTLINE_GATE_CELL_MARGIN", "0.5")
    assert recipe_of(load_spec("line")).thresholds().cell_margin == 0.5
    assert recipe_of(load_spec("instant")).thresholds().cell_margin == 0.5
    monkeypatch.setenv("FAULTLINE_GATE_MISSED", "2")
    with pytest.raises(ValidationError):
        GateThresholds()


def test_the_field_counts_beside_a_champion_and_with_windows_enough() -> None:
    limits = GateThresholds(field_margin=0.02, field_windows=100)
    assert feedback_criterion(0.9, None, 500, limits) is None
    assert feedback_criterion(0.5, 0.9, 99, limits) is None
    for candidate, passed in ((0.95, True), (0.88, True), (0.87, False), (None, False)):
        criterion = feedback_criterion(candidate, 0.9, 100, limits)
        assert criterion is not None
        assert (criterion.passed, criterion.champion) == (passed, 0.9)
