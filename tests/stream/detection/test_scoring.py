"""Scores count what really happened, by the worker's own episodes: found, correct, false alarms, missed."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.powerline.events import PowerLineFaultEvent
from model.spec import EpisodePolicy, SignalSpec, load_spec
from stream.contract import NS_PER_S, EpisodeState, FaultEvent, SourceRecord
from stream.detection.episodes import EpisodeTracker
from stream.detection.scoring import Decision, Episode, EventScore, detect_episodes, published_episodes, score_events
from stream.detection.truth import InjectedFault, Truth, injected_faults
from tests.stream.doubles import line_windows, track

SPEC = load_spec("line")
RATE_HZ = 1600.0
HOP_NS = round(SPEC.hop * NS_PER_S / RATE_HZ)
CYCLE_NS = 4 * HOP_NS
LENGTH_NS = round(SPEC.samples * NS_PER_S / RATE_HZ)
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
    return PowerLineFaultEvent(
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
    duration_s = last_fault_ns / NS_PER_S
    return event("clear", "AG", last_fault_ns + 8 * HOP_NS, episode=episode, line=line, duration_s=duration_s)


def scored(faults: list[InjectedFault], events: list[FaultEvent]) -> EventScore:
    return score_events(faults, published_episodes(events, SPEC), SPEC)


def test_a_fault_spans_its_windows_and_the_hop_before_them() -> None:
    (fault,) = faults_of(("none", 5), ("AG", 12), ("none", 5))
    assert fault.begin == window_end(4)
    assert fault.end == window_end(16)


def test_a_change_of_class_without_quiet_between_is_one_fault_of_two_stages() -> None:
    (fault,) = faults_of(("none", 5), ("AG", 12), ("ABG", 8), ("none", 5))
    assert [SPEC.class_names[stage.fault_class] for stage in fault.stages] == ["AG", "ABG"]
    assert len(faults_of(("AG", 9), ("none", 1), ("ABG", 9))) == 2


def test_three_phase_with_and_without_ground_is_one_stage() -> None:
    (fault,) = faults_of(("ABC", 9), ("ABCG", 9))
    assert len(fault.stages) == 1
    assert fault.end == window_end(17)


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
    score = scored(faults, [event("onset", "AG", window_end(8)), clear(window_end(17))])
    assert (score.injected, score.onsets, score.correct, score.missed, score.false_alarms) == (1, 1, 1, 0, 0)
    assert score.by_class["AG"].correct == score.by_type["lg"].found == 1


def test_three_phase_with_ground_is_correct_for_three_phase_without() -> None:
    score = scored(faults_of(("ABC", 12), ("none", 9)), [event("onset", "ABCG", window_end(3))])
    assert score.correct == 1


def test_a_wrong_class_is_found_but_not_correct() -> None:
    score = scored(faults_of(("AG", 12), ("none", 9)), [event("onset", "BG", window_end(3))])
    assert (score.correct, score.wrong, score.missed) == (0, 1, 0)
    assert score.by_class["AG"].found == 1
    assert score.not_correct[0][1] == "BG"


def test_a_fault_without_an_episode_is_missed() -> None:
    faults = faults_of(("AG", 12), ("none", 9))
    score = scored(faults, [event("onset", "AG", window_end(3), line="another")])
    assert (score.missed, score.false_alarms) == (1, 1)


def test_the_class_that_an_episode_ends_with_is_the_one_that_counts() -> None:
    faults = faults_of(("AG", 12), ("ABG", 12), ("none", 30))
    onset = event("onset", "AG", window_end(3))
    good = event("update", "ABG", window_end(15))
    late = event("update", "BG", window_end(23) + GRACE_NS + 1)
    score = scored(faults, [onset, good])
    assert (score.correct, score.stages, score.stages_reported) == (1, 2, 2)
    score = scored(faults, [onset, good, late])
    assert (score.correct, score.wrong, score.stages_reported) == (0, 1, 2)
    score = scored(faults, [onset])
    assert (score.correct, score.wrong, score.stages_reported) == (0, 1, 1)


def test_an_onset_within_the_grace_belongs_to_the_fault_and_one_after_it_does_not() -> None:
    faults = faults_of(("none", 4), ("AG", 3), ("none", 30))
    end = window_end(6)
    score = scored(faults, [event("onset", "AG", end + GRACE_NS)])
    assert (score.correct, score.false_alarms) == (1, 0)
    score = scored(faults, [event("onset", "AG", end + GRACE_NS + 1)])
    assert (score.missed, score.false_alarms) == (1, 1)


def test_an_episode_that_was_clear_before_the_fault_does_not_find_it() -> None:
    faults = faults_of(("none", 60), ("AG", 12), ("none", 9))
    score = scored(faults, [event("onset", "AG", window_end(5)), clear(window_end(20))])
    assert (score.missed, score.false_alarms) == (1, 1)


def test_an_early_onset_is_a_false_alarm_and_does_not_find_the_fault_that_follows_in_its_episode() -> None:
    faults = faults_of(("none", 60), ("AG", 12), ("none", 9))
    score = scored(faults, [event("onset", "AG", window_end(50))])
    assert (score.correct, score.missed, score.false_alarms) == (0, 1, 1)


def test_an_episode_belongs_to_one_fault_and_a_further_one_is_repeated() -> None:
    faults = faults_of(("AG", 12), ("none", 3), ("AG", 12), ("none", 30))
    first, again = (event("onset", "AG", window_end(at), episode=name) for name, at in (("e", 3), ("f", 10)))
    score = scored(faults, [first, again])
    assert (score.found, score.repeated, score.missed, score.false_alarms) == (1, 1, 1, 0)


def test_an_update_without_its_onset_is_no_episode() -> None:
    assert published_episodes([event("update", "AG", window_end(3)), clear(window_end(9))], SPEC) == []


def test_a_class_that_the_spec_does_not_have_is_wrong() -> None:
    onset = event("onset", "AG", window_end(3)).model_copy(update={"fault_class": "tree"})
    score = scored(faults_of(("AG", 12), ("none", 9)), [onset])
    assert (score.wrong, score.not_correct[0][1]) == (1, "a class unknown to the spec")


NAMES = st.sampled_from([name for name in SPEC.class_names if name != "none"])
RUNS = st.lists(st.tuples(NAMES, st.integers(3, 30), st.integers(20, 60)), max_size=6)


def _faults_and_perfect_events(runs: list[tuple[str, int, int]]) -> tuple[list[InjectedFault], list[FaultEvent]]:
    faults = faults_of(
        *[part for name, faulty, quiet in runs for part in (("none", quiet), (name, faulty))], ("none", 9)
    )
    events = []
    for number, fault in enumerate(faults):
        name = SPEC.class_names[fault.stages[0].fault_class]
        events.append(event("onset", name, fault.begin + 3 * HOP_NS, episode=f"e{number}"))
        events.append(clear(fault.end, episode=f"e{number}"))
    return faults, events


@given(RUNS)
def test_perfect_events_score_perfectly(runs: list[tuple[str, int, int]]) -> None:
    faults, events = _faults_and_perfect_events(runs)
    score = scored(faults, events)
    assert score.injected == score.onsets == score.correct == len(runs)
    assert score.missed == score.false_alarms == score.wrong == 0
    assert score.stages == score.stages_reported


@given(RUNS, st.randoms(use_true_random=False))
def test_order_and_repeats_of_events_change_nothing(runs: list[tuple[str, int, int]], shuffled: random.Random) -> None:
    faults, events = _faults_and_perfect_events(runs)
    again = [*events, *shuffled.sample(events, len(events) // 2)]
    shuffled.shuffle(again)
    assert scored(faults, again) == scored(faults, events)


@given(RUNS, st.lists(st.tuples(NAMES, st.integers(0, 400), st.integers(0, 3)), max_size=20))
def test_every_fault_is_correct_wrong_or_missed(
    runs: list[tuple[str, int, int]], noise: list[tuple[str, int, int]]
) -> None:
    faults, _ = _faults_and_perfect_events(runs)
    events = [event("onset", name, window_end(at), episode=f"n{number}") for name, at, number in noise]
    score = scored(faults, events)
    assert score.injected == score.correct + score.wrong + score.missed == len(runs)
    assert score.false_alarms <= score.onsets
    assert sum(one.injected for one in score.by_class.values()) == score.injected


# Episodes of records -------------------------------------------------------------------------------------------------

NONE, AG, BG, ABG, ABC, ABCG = (SPEC.class_index(name) for name in ("none", "AG", "BG", "ABG", "ABC", "ABCG"))


def detected(probabilities: np.ndarray, spec: SignalSpec = SPEC) -> list[Episode]:
    """Detect the episodes of records without a waveform."""
    records, windows, _ = probabilities.shape
    return detect_episodes(probabilities, np.zeros((records, spec.samples + (windows - 1) * spec.hop, 6), "f4"), spec)


def said(*classes: int) -> np.ndarray:
    """Return probabilities of 1 for the given classes, (1, windows, classes)."""
    return np.eye(len(SPEC.classes), dtype=np.float32)[list(classes)][None]


def test_windows_that_are_not_certain_of_a_fault_open_no_episode() -> None:
    hardly = said(*(AG,) * 12) * 0.6
    hardly[..., SPEC.none_index] = 0.4
    assert detected(hardly) == []


def test_an_episode_opens_with_three_of_four_faulty_windows_and_ends_after_eight_quiet_ones() -> None:
    quiet = (0,) * 8
    assert detected(said(*quiet, AG, AG, 0, 0, AG, *quiet)) == []
    (found,) = detected(said(*quiet, AG, 0, AG, AG, *quiet))
    assert (found.onset_class, found.at) == (AG, 11 * SPEC.hop + SPEC.samples)
    assert len(detected(said(AG, AG, AG, *quiet[:7], AG, *quiet))) == 1
    assert len(detected(said(AG, AG, AG, *quiet, AG, AG, AG))) == 2


def test_an_episode_takes_another_class_when_it_lasts() -> None:
    (found,) = detected(said(AG, AG, AG, ABG, ABG, ABG, ABG))
    assert (found.onset_class, found.last_class) == (AG, ABG)


def test_events_are_counted_as_correct_wrong_missed_and_false() -> None:
    labels = np.zeros((1, 4096), np.int8)
    for begin, end, label in ((512, 768, AG), (1536, 1792, BG), (2560, 2816, ABC)):
        labels[0, begin:end] = label
    ends = np.arange(SPEC.samples - 1, 4096, SPEC.hop)
    classes = np.zeros(len(ends), int)
    classes[(ends >= 520) & (ends < 768)] = AG
    classes[(ends >= 1550) & (ends < 1792)] = AG
    classes[(ends >= 3600) & (ends < 3700)] = BG
    score = score_events(injected_faults(labels), detected(said(*classes)), SPEC, 4096 / RATE_HZ / 3600)
    assert (score.injected, score.correct, score.wrong, score.missed, score.false_alarms) == (3, 1, 1, 1, 1)
    assert score.as_metrics()["false_alarms_per_line_hour"] == pytest.approx(3600 / (4096 / 1600), rel=1e-3)


def test_stages_of_a_labelled_record_are_its_runs() -> None:
    labels = np.array([[0, AG, AG, ABG, 0, BG]], np.int8)
    first, second = injected_faults(labels)
    assert [(stage.fault_class, stage.begin, stage.end) for stage in first.stages] == [(AG, 1, 3), (ABG, 3, 4)]
    assert (second.line, second.begin, second.end, second.classes) == (0, 5, 6, (BG,))


def test_a_fault_reaches_one_window_beyond_its_last_sample() -> None:
    labels = np.zeros((1, 400), np.int8)
    labels[0, 100:104] = AG
    (fault,) = injected_faults(labels)
    for at, found in ((100, 0), (101, 1), (104 + SPEC.samples, 1), (105 + SPEC.samples, 0)):
        decisions = (Decision(at, AG),)
        assert score_events([fault], [Episode(0, decisions)], SPEC).found == found


@st.composite
def policies(draw: st.DrawFn) -> EpisodePolicy:
    of = draw(st.integers(1, 6))
    certainty = draw(st.sampled_from([0.0, 0.5, 0.9]))
    return EpisodePolicy(confirm=draw(st.integers(1, of)), of=of, clear=draw(st.integers(1, 9)), certainty=certainty)


LEVELS = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])
"""Few values, so that there are ties, and one exactly at the certainty that a policy requires."""
SHOWN = st.lists(st.tuples(st.sampled_from([NONE, AG, ABG, ABC, ABCG]), st.integers(1, 30), LEVELS, LEVELS), max_size=8)


@given(SHOWN, policies())
def test_episodes_that_are_scored_are_those_that_a_worker_opens_window_by_window(
    runs: list[tuple[int, int, float, float]], policy: EpisodePolicy
) -> None:
    spec = SPEC.model_copy(update={"episode": policy})
    rows = np.zeros((1 + sum(length for _, length, _, _ in runs), len(spec.classes)), np.float32)
    first = 0
    for shown, length, share, of_three_phase in runs:
        rows[first : first + length, shown] = share
        rows[first : first + length, ABCG] += of_three_phase * (1 - share)
        rows[first : first + length, NONE] += 1 - rows[first, :].sum()
        first += length
    rows[first:, NONE] = 1
    tracker, state, onsets, last = EpisodeTracker(spec), None, [], {}
    for number, row in enumerate(rows):
        entry = line_windows(1, sequence=number, spec=spec)
        window = np.zeros((1, *spec.window_shape), np.float32)
        tracked = track(tracker, state, entry, window, row[None])
        state = tracked.state
        onsets += [(step.sequence, step.fault_class) for step in tracked.steps if step.state == "onset"]
        last.update({step.episode_id: step.fault_class for step in tracked.steps})
    found = detected(rows[None], spec)
    assert [((one.at - spec.samples) // spec.hop, one.onset_class) for one in found] == onsets
    assert [one.last_class for one in found] == list(last.values())
