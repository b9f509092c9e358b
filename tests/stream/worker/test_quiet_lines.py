"""The shortcut for quiet windows is equivalent: for any input it leaves the state that the full tracker would leave."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from model.spec import load_spec
from stream.contract import NS_PER_S
from stream.detection.decode import DecodedBatch, LineWindows
from stream.detection.episodes import EpisodeTracker
from stream.detection.line_state import LineState, decode_state, encode_state
from stream.detection.order import Positions
from tests.stream.doubles import track

SPEC = load_spec("line")
HOP_NS = round(SPEC.hop * NS_PER_S / SPEC.rate_hz)
TRACKER = EpisodeTracker(SPEC)

# A record may follow, jump, repeat or come late, be quiet or not, and come after a restart.
RECORDS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 1, 5, -1, -4]),  # sequence relative to the next one
        st.sampled_from([0, 0, 0, HOP_NS // 2, 3 * HOP_NS, -2 * HOP_NS]),  # time relative to the next one
        st.lists(st.sampled_from([0, 0, 0, 0, 1, 4]), min_size=1, max_size=4),  # class of every window
        st.booleans(),  # whether the worker was restarted before
    ),
    min_size=1,
    max_size=30,
)


def _record(state: LineState | None, jump: int, late_ns: int, count: int) -> LineWindows:
    sequence = max(0, (0 if state is None else state.sequence + 1) + jump)
    start_ns = max(0, (NS_PER_S if state is None else state.start_ns + HOP_NS) + late_ns)
    record: Any = SimpleNamespace(topic="t", partition=0, offset=0, timestamp=0, key=b"a", value=b"", headers=())
    return LineWindows(record, "a", sequence, start_ns, SPEC.rate_hz, 0, count, None)


@given(RECORDS)
@settings(max_examples=300)
def test_quiet_records_passed_over_leave_the_state_that_judging_them_leaves(
    records: list[tuple[int, int, list[int], bool]],
) -> None:
    state: LineState | None = None
    for jump, late_ns, classes, restarted in records:
        if restarted and state is not None:
            state = decode_state(encode_state(state))
        entry = _record(state, jump, late_ns, len(classes))
        probabilities = np.full((len(classes), len(SPEC.classes)), 0.01, np.float32)
        probabilities[np.arange(len(classes)), classes] = 0.9
        windows = np.zeros((len(classes), *SPEC.window_shape), np.float32)
        judged = track(TRACKER, copy.deepcopy(state), entry, windows, probabilities)
        short = copy.deepcopy(state)
        if not any(classes) and _follows(short, entry) and TRACKER.advance_if_idle(short, entry):
            assert short == judged.state
            assert (judged.in_order, judged.repeated, judged.late, judged.steps) == (len(classes), 0, 0, [])
        else:
            assert short == state, "where it is not the way, nothing was changed"
        state = judged.state


def test_a_quiet_line_whose_windows_follow_takes_the_short_way() -> None:
    state = track(TRACKER, None, _record(None, 0, 0, 1), np.zeros((1, *SPEC.window_shape), np.float32), _quiet(1)).state
    assert TRACKER.advance_if_idle(state, _record(state, 0, 0, 3))
    assert state.sequence == 3


def _follows(state: LineState | None, entry: LineWindows) -> bool:
    """Return True if all windows are new and follow the line's last one."""
    states = {} if state is None else {entry.line: state}
    ordered = Positions(SPEC).order(DecodedBatch(np.zeros((entry.count, 1, 1), np.float32), [entry], []), states)
    return (ordered.skips, ordered.breaks) == ([0], [None])


def _quiet(count: int) -> Any:
    answer = np.zeros((count, len(SPEC.classes)), np.float32)
    answer[:, SPEC.none_index] = 1
    return answer
