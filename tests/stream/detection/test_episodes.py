"""Episodes of a run of classes, independent of batches, repeats and restarts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultline.testing import class_probabilities, class_windows
from model.spec import EpisodePolicy, load_spec
from stream.contract import MAX_NS, MAX_RATE_HZ, MAX_SEQUENCE, MIN_RATE_HZ, SourceRecord
from stream.detection.decode import LineWindows
from stream.detection.episodes import EpisodeStep, EpisodeTracker
from stream.detection.events import fault_event
from stream.detection.line_state import LineState, decode_state, encode_state
from tests.stream.doubles import START_NS, Tracked, hop_ns, line_windows, record, track

SPEC = load_spec("line")
INSTANT = load_spec("instant")
HOP_NS = hop_ns(SPEC)
NONE, AG, BG, AB, ABC, ABCG = (SPEC.class_index(name) for name in ("none", "AG", "BG", "AB", "ABC", "ABCG"))
TRACKER = EpisodeTracker(SPEC)
"""Confirms 3 of 4, clears after 8."""
QUIET = [NONE] * 8


class Line:
    """A line and its source, tracked record by record."""

    def __init__(self, tracker: EpisodeTracker = TRACKER) -> None:
        self.tracker = tracker
        self.state: LineState | None = None
        self.steps: list[EpisodeStep] = []
        self.sequence = 0

    def send(
        self,
        classes: Sequence[int],
        *,
        sequence: int | None = None,
        start_ns: int | None = None,
        share: float = 0.99,
    ) -> Tracked:
        sequence = self.sequence if sequence is None else sequence
        entry = line_windows(len(classes), sequence=sequence, start_ns=start_ns, spec=SPEC)
        windows = class_windows(classes, SPEC)
        tracked = track(
            self.tracker, self.state, entry, windows, class_probabilities(classes, self.tracker.spec, share)
        )
        self.state = tracked.state
        self.steps += tracked.steps
        self.sequence = sequence + len(classes)
        return tracked

    def told(self) -> list[tuple[str, int]]:
        return [(step.state, step.fault_class) for step in self.steps]


def judged(classes: Sequence[int], size: int = 1) -> Line:
    line = Line()
    for first in range(0, len(classes), size):
        line.send(classes[first : first + size])
    return line


# The states of an episode --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [[AG, NONE, AG], [AG, NONE, NONE, AG, NONE, AG], [AG, AG], [NONE] * 40])
def test_fewer_than_m_of_n_faulty_windows_are_no_episode(classes: list[int]) -> None:
    assert judged(classes).told() == []


def test_windows_that_are_hardly_sure_of_a_fault_open_no_episode() -> None:
    line = Line(EpisodeTracker(SPEC, EpisodePolicy(confirm=3, of=4, clear=8, certainty=0.995)))
    line.send([AG] * 12, share=0.5)
    assert line.told() == []


def test_an_open_episode_goes_on_with_windows_that_are_hardly_sure() -> None:
    line = Line()
    line.send([AG] * 3)
    line.send([AG] * 12, share=0.5)
    assert line.told() == [("onset", AG)]
    line.send(QUIET)
    assert line.told()[1:] == [("clear", AG)]


@pytest.mark.parametrize("classes", [[AG, AG, AG], [AG, NONE, AG, AG], [AG, AG, NONE, AG], [NONE, NONE, AG, AG, AG]])
def test_m_of_n_faulty_windows_are_an_onset_at_the_window_that_completes_them(classes: list[int]) -> None:
    line = judged(classes)
    assert line.told() == [("onset", AG)]
    assert line.steps[0].sequence == len(classes) - 1


def test_an_episode_goes_from_onset_by_update_to_clear_under_one_id() -> None:
    line = judged([NONE, AG, AG, AG, AB, AB, AB, AB, *QUIET])
    assert line.told() == [("onset", AG), ("update", AB), ("clear", AB)]
    assert len({step.episode_id for step in line.steps}) == 1
    assert [step.previous_class for step in line.steps] == [None, AG, None]


def test_a_fault_after_a_clear_is_another_episode() -> None:
    line = judged([AG] * 4 + QUIET + [AG] * 4 + QUIET)
    assert [state for state, _ in line.told()] == ["onset", "clear", "onset", "clear"]
    assert line.steps[0].episode_id == line.steps[1].episode_id != line.steps[2].episode_id
    assert line.steps[2].episode_id == line.steps[3].episode_id


def test_a_pause_shorter_than_the_clearing_ends_nothing() -> None:
    assert judged([AG] * 3 + [NONE] * 7 + [AG] + [NONE] * 7).told() == [("onset", AG)]


def test_a_change_that_does_not_last_is_no_update() -> None:
    assert judged([AG] * 3 + [AB, AB, AG, AB, BG, AB, NONE, AB, AB, AG]).told() == [("onset", AG)]


def test_three_phase_with_and_without_ground_is_one_and_the_same() -> None:
    assert judged([ABC] * 3 + [ABCG, ABC] * 10 + [ABCG] * 10).told() == [("onset", ABC)]


def test_a_fault_that_grows_to_three_phases_is_updated_though_its_ground_flickers() -> None:
    line = judged([AG] * 3 + [ABC, ABCG, ABC, ABC])
    assert [state for state, _ in line.told()] == ["onset", "update"]
    assert line.steps[1].fault_class == ABC


def test_the_class_of_an_onset_is_the_most_probable_fault_of_its_windows() -> None:
    entry = line_windows(3, spec=SPEC)
    rows = class_probabilities([AG, AB, AB], SPEC, certainty=0.5)
    rows[0, AG] = 0.99
    rows[:, NONE] = 0.0
    step = track(TRACKER, None, entry, class_windows([AG, AB, AB], SPEC), rows).steps[0]
    assert step.fault_class == int(rows.mean(axis=0).argmax())


def test_another_policy_is_kept_to() -> None:
    line = Line(EpisodeTracker(SPEC, EpisodePolicy(confirm=1, of=1, clear=2)))
    line.send([AG, NONE, AG, NONE, NONE])
    assert line.told() == [("onset", AG), ("clear", AG)]


# Repeats, gaps, restarts ---------------------------------------------------------------------------------------------


def test_repeated_windows_are_counted_and_not_tracked() -> None:
    line = judged([NONE, AG, AG, AG, AG], size=5)
    again = line.send([NONE, AG, AG, AG, AG], sequence=0)
    assert (again.in_order, again.repeated, again.late, again.steps) == (0, 5, 0, [])


def test_a_record_that_overlaps_is_tracked_from_its_first_new_window() -> None:
    line = judged([NONE, AG], size=2)
    overlap = line.send([NONE, AG, AG, AG], sequence=0)
    assert (overlap.in_order, overlap.repeated) == (2, 2)
    assert line.told() == [("onset", AG)]
    assert line.steps[0].sequence == 3


def test_an_overlap_whose_clock_reads_a_little_more_is_still_an_overlap() -> None:
    line = judged([AG] * 4 + [NONE] * 6, size=5)
    again = line.send([NONE] * 3, sequence=9, start_ns=START_NS + 9 * HOP_NS + 40)
    assert (again.in_order, again.repeated) == (2, 1)
    assert again.state.episode is None
    assert line.told() == [("onset", AG), ("clear", AG)]
    assert line.steps[-1].quality == ()


def test_a_gap_is_a_quality_flag_and_breaks_a_suspicion() -> None:
    line = judged([AG, AG], size=2)
    line.send([AG, AG], sequence=20)
    assert line.told() == []
    line.send([AG])
    assert line.told() == [("onset", AG)]
    assert line.steps[0].quality == ("gap",)


def test_a_gap_in_an_episode_is_reported_at_its_clear() -> None:
    line = judged([AG] * 3, size=3)
    line.send(QUIET, sequence=10)
    assert line.told() == [("onset", AG), ("clear", AG)]
    assert line.steps[1].quality == ("gap",)


def test_a_source_that_restarts_its_count_is_still_tracked() -> None:
    line = judged([NONE] * 100, size=100)
    line.send([AG] * 3, sequence=0, start_ns=START_NS + 500 * HOP_NS)
    assert line.told() == [("onset", AG)]
    assert "source-restart" in line.steps[0].quality


def test_a_line_whose_clock_was_set_back_is_still_tracked() -> None:
    # A leap second, or a clock that was wrong: the sequence continues, so these windows are new.
    line = judged([NONE] * 100, size=100)
    second = START_NS + 100 * HOP_NS - 1_000_000_000
    tracked = line.send([AG] * 3, start_ns=second)
    assert line.told() == [("onset", AG)]
    assert tracked.late == 3
    assert "late" in line.steps[0].quality


def test_one_record_from_the_far_future_does_not_blind_its_line() -> None:
    line = judged([NONE], size=1)
    line.send([NONE], start_ns=MAX_NS - 10**9)
    line.send([AG] * 3, start_ns=START_NS + 3 * HOP_NS)
    assert line.told() == [("onset", AG)]


def test_a_restored_idle_line_has_no_gap_and_a_restored_open_one_has() -> None:
    idle = judged([NONE] * 3)
    idle.state = decode_state(encode_state(idle.state))
    idle.send([AG] * 3, sequence=50)
    assert idle.steps[0].quality == ()
    open_ = judged([AG] * 3)
    open_.state = decode_state(encode_state(open_.state))
    open_.send(QUIET, sequence=50)
    assert open_.steps[-1].quality == ("gap",)


def test_a_restored_line_that_goes_on_knows_later_gaps() -> None:
    line = judged([NONE] * 3)
    line.state = decode_state(encode_state(line.state))
    line.send([NONE])
    line.send([AG] * 3, sequence=50)
    assert line.steps[0].quality == ("gap",)


def test_the_state_of_another_spec_is_forgotten() -> None:
    line = judged([ABCG] * 3)
    assert line.state is not None
    instant = EpisodeTracker(INSTANT)
    entry = LineWindows(record(b"l", b"x"), "l", 3, START_NS + 3 * HOP_NS, 20_000.0, 0, 3, None)
    rows = class_probabilities([1, 1, 1], INSTANT)
    tracked = track(instant, line.state, entry, np.zeros((3, 1, 6), np.float32), rows)
    assert [step.state for step in tracked.steps] == ["onset"]


# Properties ----------------------------------------------------------------------------------------------------------

CLASSES = st.lists(
    st.tuples(st.sampled_from([NONE, AG, AB, ABC, ABCG]), st.integers(1, 12)), min_size=1, max_size=12
).map(lambda runs: [fault for fault, length in runs for _ in range(length)])


def facts(steps: Sequence[EpisodeStep]) -> list[Any]:
    source = SourceRecord(topic="t", partition=0, offset=0)
    events = [fault_event(step, SPEC, "m", source) for step in steps]
    assert len({event.event_id for event in events}) == len(events)
    return [event.model_dump() for event in events]


@settings(max_examples=60)
@given(classes=CLASSES, data=st.data())
def test_however_the_stream_is_cut_the_events_are_the_same(classes: list[int], data: Any) -> None:
    whole = judged(classes, size=len(classes))
    cut = Line()
    while cut.sequence < len(classes):
        size = data.draw(st.integers(1, 9))
        cut.send(classes[cut.sequence : cut.sequence + size])
    assert facts(cut.steps) == facts(whole.steps)


@settings(max_examples=60)
@given(classes=CLASSES, data=st.data())
def test_a_suffix_sent_again_after_a_restart_adds_nothing(classes: list[int], data: Any) -> None:
    once = judged(classes, size=3)
    line = Line()
    while line.sequence < len(classes):
        size = data.draw(st.integers(1, 9))
        line.send(classes[line.sequence : line.sequence + size])
        if data.draw(st.booleans()):
            line.state = decode_state(encode_state(line.state))
            # Everything after the last commit comes again, cut in any way.
            line.sequence -= data.draw(st.integers(0, line.sequence))
    assert facts(line.steps) == facts(once.steps)


@settings(max_examples=60)
@given(classes=CLASSES, at=st.lists(st.integers(0, 100)))
def test_writing_and_restoring_the_state_at_any_window_changes_nothing(classes: list[int], at: list[int]) -> None:
    line = Line()
    for index, fault in enumerate(classes):
        if index in at and line.state is not None:
            line.state = decode_state(encode_state(line.state))
        line.send([fault])
    assert facts(line.steps) == facts(judged(classes, size=5).steps)


@settings(max_examples=60)
@given(
    records=st.lists(
        st.tuples(st.integers(-4, 60), st.integers(-60, 60), CLASSES.map(lambda classes: classes[:8])), max_size=12
    )
)
def test_no_order_of_records_raises_and_windows_are_tracked_repeated_or_late(records: Any) -> None:
    line = Line()
    for jump, shift, classes in records:
        sequence = max(0, line.sequence + jump)
        start_ns = START_NS + (sequence + shift) * HOP_NS
        tracked = line.send(classes, sequence=sequence, start_ns=start_ns)
        assert tracked.in_order + tracked.repeated + tracked.late == len(classes)
        line.state = decode_state(encode_state(line.state))


@pytest.mark.parametrize("rate_hz", [MIN_RATE_HZ, 1600.0, MAX_RATE_HZ])
def test_numbers_at_the_contracts_limits_are_tracked_and_stored(rate_hz: float) -> None:
    span_ns = round((8 * 19 + 32) * 1e9 / rate_hz)
    classes = [AG] * 4 + [NONE] * 16
    state = None
    for start_ns, sequence in ((0, 0), (MAX_NS - span_ns, MAX_SEQUENCE - 20)):
        entry = LineWindows(record(b"l", b"x"), "l", sequence, start_ns, rate_hz, 0, 20, None)
        tracked = track(TRACKER, state, entry, class_windows(classes, SPEC), class_probabilities(classes, SPEC))
        state = decode_state(encode_state(tracked.state))
        assert len(facts(tracked.steps)) == 2


# Times ---------------------------------------------------------------------------------------------------------------


def test_the_times_of_an_episode_are_those_of_its_waveform() -> None:
    """Return a bolted AG fault from sample 100 to 260 of a 50 Hz line; a window is faulty if half of it is."""
    begins, ends, length = 100, 260, 480
    t = np.arange(length)
    shifts = np.array([0.0, -2 * np.pi / 3, 2 * np.pi / 3])
    waves = np.sin(2 * np.pi / 32 * t[:, None] + shifts)
    fault = (t >= begins) & (t < ends)
    currents, voltages = 0.5 * waves, waves.copy()
    currents[fault, 0] *= -14
    voltages[fault, 0] *= 0.3
    samples = np.hstack([currents, voltages]).astype(np.float32)
    line = Line()
    starts = range(0, length - 31, 8)
    windows = np.stack([samples[start : start + 32] for start in starts])
    classes = [AG if fault[start : start + 32].sum() >= 16 else NONE for start in starts]
    entry = line_windows(len(classes), spec=SPEC)
    steps = track(line.tracker, None, entry, windows, class_probabilities(classes, SPEC)).steps
    assert [step.state for step in steps] == ["onset", "clear"]
    onset, clear = (fault_event(step, SPEC, "m", SourceRecord(topic="t", partition=0, offset=0)) for step in steps)
    sample_ns = 625_000
    assert abs(onset.inception_ns - (START_NS + begins * sample_ns)) <= sample_ns
    third = [start for start, fault_class in zip(starts, classes, strict=True) if fault_class == AG][2]
    # The decision needed the samples up to its window's last, and no more.
    assert onset.detection_ns == START_NS + (third + 31) * sample_ns
    assert clear.inception_ns == onset.inception_ns
    assert clear.duration_s is not None
    assert clear.duration_cycles is not None
    assert abs(clear.duration_s - (ends - begins) * sample_ns / 1e9) <= SPEC.hop * sample_ns / 1e9
    assert abs(clear.duration_cycles - (ends - begins) / 32) <= 0.25


def test_ids_depend_on_the_windows_and_not_on_the_model() -> None:
    steps = judged([AG] * 3 + QUIET).steps
    source = SourceRecord(topic="t", partition=0, offset=0)
    first = [fault_event(step, SPEC, "model-a", source).event_id for step in steps]
    second = [fault_event(step, SPEC, "model-b", source).event_id for step in judged([AG] * 3 + QUIET, size=4).steps]
    assert first == second
    assert len(set(first)) == 2
