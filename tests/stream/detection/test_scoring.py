"""Scores say what really happened: found, correct, false alarms, missed."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from model.spec import load_spec
from stream.contract import EpisodeState, FaultEvent, SourceRecord
from stream.detection.scoring import NS, InjectedFault, Truth, score_events

SPEC = load_spec("line")
RATE_HZ = 1600.0
HOP_NS = round(SPEC.hop * NS / RATE_HZ)
CYCLE_NS = 4 * HOP_NS
LENGTH_NS = round(SPEC.samples * NS / RATE_HZ)
GRACE_NS = CYCLE_NS + HOP_NS


def labels(*runs: tuple[str, int]) -> list[int]:
    return [SPEC.class_index(name) for name, count in runs for _ in range(count)]


def faults_of(*runs: tuple[str, int], line: str = "l") -> list[InjectedFault]:
    truth = Truth(SPEC)
    truth.add(line, 0, RATE_HZ, labels(*runs))
    return truth.faults()


def window_end(number: int) -> int:
    return number * HOP_NS + LENGTH_NS


def event(
    state: EpisodeState,
    fault_class: str,
    detection_ns: int,
    *,
    episode: str = "e",
    line: str = "l",
    inception_ns: int = 0,
    duration_s: float | None = None,
) -> FaultEvent:
    known = SPEC.classes[SPEC.class_index(fault_class)]
    return FaultEvent(
        event_id=f"{line}-{episode}-{state}-{detection_ns}",
        episode_id=episode,
        line=line,
        state=state,
        fault_class=fault_class,
        fault_type=known.type,
        phases=known.phases,
        ground=known.ground,
        ground_probability=0.0,
        confidence=0.9,
        probabilities={fault_class: 0.9},
        inception_ns=inception_ns,
        detection_ns=detection_ns,
        duration_s=duration_s,
        spec="line",
        model_id="m",
        sequence=0,
        source=SourceRecord(topic="sensor-windows", partition=0, offset=0),
    )


def clear(last_fault_ns: int, *, episode: str = "e", line: str = "l") -> FaultEvent:
    return event("clear", "AG", last_fault_ns + 8 * HOP_NS, episode=episode, line=line, duration_s=last_fault_ns / NS)


def test_a_fault_spans_its_windows_and_the_hop_before_them() -> None:
    (fault,) = faults_of(("none", 5), ("AG", 12), ("none", 5))
    assert fault.begin_ns == window_end(4)
    assert fault.end_ns == window_end(16)


def test_a_change_of_class_without_quiet_between_is_one_fault_of_two_stages() -> None:
    (fault,) = faults_of(("none", 5), ("AG", 12), ("ABG", 8), ("none", 5))
    assert [SPEC.class_names[stage.fault_class] for stage in fault.stages] == ["AG", "ABG"]
    assert len(faults_of(("AG", 9), ("none", 1), ("ABG", 9))) == 2


def test_three_phase_with_and_without_ground_is_one_stage() -> None:
    (fault,) = faults_of(("ABC", 9), ("ABCG", 9))
    assert len(fault.stages) == 1
    assert fault.end_ns == window_end(17)


def test_a_fault_cut_off_by_the_end_counts_only_when_it_lasted_two_cycles() -> None:
    assert faults_of(("none", 5), ("AG", 7)) == []
    assert len(faults_of(("none", 5), ("AG", 8))) == 1


def test_repeated_windows_do_not_repeat_a_fault() -> None:
    truth = Truth(SPEC)
    for _ in range(2):
        truth.add("l", 0, RATE_HZ, labels(("none", 3), ("BC", 9), ("none", 3)))
    assert len(truth.faults()) == 1


def test_messages_of_a_line_join_to_one_run() -> None:
    whole, parts = Truth(SPEC), Truth(SPEC)
    sequence = labels(("none", 5), ("CA", 13), ("none", 6), ("BG", 9), ("none", 3))
    whole.add("l", 0, RATE_HZ, sequence)
    for first in range(0, len(sequence), 4):
        parts.add("l", first * HOP_NS, RATE_HZ, sequence[first : first + 4])
    assert parts.faults() == whole.faults()


def test_the_class_during_an_event_is_the_latest_stage_or_the_fault_just_over() -> None:
    truth = Truth(SPEC)
    truth.add("l", 0, RATE_HZ, labels(("none", 5), ("AG", 12), ("ABG", 8), ("none", 40)))
    ag, abg = SPEC.class_index("AG"), SPEC.class_index("ABG")
    assert truth.class_during("l", window_end(0), window_end(1)) == SPEC.none_index
    assert truth.class_during("l", window_end(5), window_end(8)) == ag
    assert truth.class_during("l", window_end(5), window_end(20)) == abg
    assert truth.class_during("l", window_end(5), window_end(33)) == abg
    assert truth.class_during("l", window_end(50), window_end(55)) == SPEC.none_index
    assert truth.class_during("other", 0, window_end(55)) == SPEC.none_index


def test_a_found_and_named_fault_is_correct() -> None:
    faults = faults_of(("none", 5), ("AG", 12), ("none", 20))
    score = score_events(faults, [event("onset", "AG", window_end(8)), clear(window_end(17))], SPEC)
    assert (score.injected, score.onsets, score.correct, score.missed, score.false_alarms) == (1, 1, 1, 0, 0)
    assert score.by_class["AG"].correct == score.by_type["lg"].found == 1


def test_three_phase_with_ground_is_correct_for_three_phase_without() -> None:
    score = score_events(faults_of(("ABC", 12), ("none", 9)), [event("onset", "ABCG", window_end(3))], SPEC)
    assert score.correct == 1


def test_a_wrong_class_is_found_but_not_correct() -> None:
    score = score_events(faults_of(("AG", 12), ("none", 9)), [event("onset", "BG", window_end(3))], SPEC)
    assert (score.correct, score.wrong, score.missed) == (0, 1, 0)
    assert score.by_class["AG"].found == 1
    assert score.not_correct[0][1] == "BG"


def test_a_fault_without_an_episode_is_missed() -> None:
    faults = faults_of(("AG", 12), ("none", 9))
    score = score_events(faults, [event("onset", "AG", window_end(3), line="another")], SPEC)
    assert (score.missed, score.false_alarms) == (1, 1)


def test_the_last_update_before_the_end_is_the_class_that_counts() -> None:
    faults = faults_of(("AG", 12), ("ABG", 12), ("none", 30))
    onset = event("onset", "AG", window_end(3))
    good = event("update", "ABG", window_end(15))
    late = event("update", "BG", window_end(23) + GRACE_NS + 1)
    score = score_events(faults, [onset, good, late], SPEC)
    assert (score.correct, score.stages, score.stages_reported) == (1, 2, 2)
    score = score_events(faults, [onset], SPEC)
    assert (score.correct, score.wrong, score.stages_reported) == (0, 1, 1)


def test_an_onset_within_the_grace_belongs_to_the_fault_and_one_after_it_does_not() -> None:
    faults = faults_of(("none", 4), ("AG", 3), ("none", 30))
    end = window_end(6)
    score = score_events(faults, [event("onset", "AG", end + GRACE_NS)], SPEC)
    assert (score.correct, score.false_alarms) == (1, 0)
    score = score_events(faults, [event("onset", "AG", end + GRACE_NS + 1)], SPEC)
    assert (score.missed, score.false_alarms) == (1, 1)


def test_an_episode_that_was_clear_before_the_fault_does_not_find_it() -> None:
    faults = faults_of(("none", 60), ("AG", 12), ("none", 9))
    score = score_events(faults, [event("onset", "AG", window_end(5)), clear(window_end(20))], SPEC)
    assert (score.missed, score.false_alarms) == (1, 1)


def test_an_early_onset_is_a_false_alarm_even_when_a_fault_follows_in_its_episode() -> None:
    faults = faults_of(("none", 60), ("AG", 12), ("none", 9))
    score = score_events(faults, [event("onset", "AG", window_end(50))], SPEC)
    assert (score.correct, score.false_alarms) == (1, 1)


NAMES = st.sampled_from([name for name in SPEC.class_names if name != "none"])
RUNS = st.lists(st.tuples(NAMES, st.integers(3, 30), st.integers(20, 60)), max_size=6)


def _faults_and_perfect_events(runs: list[tuple[str, int, int]]) -> tuple[list[InjectedFault], list[FaultEvent]]:
    faults = faults_of(
        *[part for name, faulty, quiet in runs for part in (("none", quiet), (name, faulty))], ("none", 9)
    )
    events = []
    for number, fault in enumerate(faults):
        name = SPEC.class_names[fault.stages[0].fault_class]
        events.append(event("onset", name, fault.begin_ns + 3 * HOP_NS, episode=f"e{number}"))
        events.append(clear(fault.end_ns, episode=f"e{number}"))
    return faults, events


@given(RUNS)
def test_perfect_events_score_perfectly(runs: list[tuple[str, int, int]]) -> None:
    faults, events = _faults_and_perfect_events(runs)
    score = score_events(faults, events, SPEC)
    assert score.injected == score.onsets == score.correct == len(runs)
    assert score.missed == score.false_alarms == score.wrong == 0
    assert score.stages == score.stages_reported


@given(RUNS, st.randoms(use_true_random=False))
def test_order_and_repeats_of_events_change_nothing(runs: list[tuple[str, int, int]], shuffled: random.Random) -> None:
    faults, events = _faults_and_perfect_events(runs)
    again = [*events, *shuffled.sample(events, len(events) // 2)]
    shuffled.shuffle(again)
    assert score_events(faults, again, SPEC) == score_events(faults, events, SPEC)


@given(RUNS, st.lists(st.tuples(NAMES, st.integers(0, 400), st.integers(0, 3)), max_size=20))
def test_every_fault_is_correct_wrong_or_missed(
    runs: list[tuple[str, int, int]], noise: list[tuple[str, int, int]]
) -> None:
    faults, _ = _faults_and_perfect_events(runs)
    events = [event("onset", name, window_end(at), episode=f"n{number}") for name, at, number in noise]
    score = score_events(faults, events, SPEC)
    assert score.injected == score.correct + score.wrong + score.missed == len(runs)
    assert score.false_alarms <= score.onsets
    assert sum(one.injected for one in score.by_class.values()) == score.injected
