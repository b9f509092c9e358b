"""The state of one line as it is stored."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.detection.line_state import LineState, OpenEpisode, RecentWindow, decode_state, encode_state
from stream.errors import ContractError

NUMBERS = st.integers(-1, 2**63 - 1)
SHARES = st.lists(st.floats(0, 1), max_size=3)
FLAGS = st.lists(st.sampled_from(["gap", "late"]), max_size=2)
STATES = st.builds(
    LineState,
    sequence=NUMBERS,
    start_ns=NUMBERS,
    recent=st.lists(st.builds(RecentWindow, NUMBERS, NUMBERS, NUMBERS, NUMBERS, SHARES), max_size=3),
    episode=st.one_of(
        st.none(),
        st.builds(
            OpenEpisode, st.text(max_size=5), NUMBERS, NUMBERS, NUMBERS, rival_probabilities=SHARES, quality=FLAGS
        ),
    ),
    flags=FLAGS,
    spec=st.text(max_size=5),
    memory=st.binary(max_size=8),
    memory_of=st.text(max_size=5),
)


@given(STATES)
def test_a_state_comes_back_as_it_was_and_knows_that_it_was_stored(state: LineState) -> None:
    restored = decode_state(encode_state(state))
    assert restored.restored
    restored.restored = state.restored
    assert restored == state


@pytest.mark.parametrize("value", [b"", b"\xc1", b"text", msgspec.msgpack.encode({"version": 1}), b"\x91\xa1\xff"])
def test_bytes_that_are_no_state_are_refused(value: bytes) -> None:
    with pytest.raises(ContractError, match="not a line state"):
        decode_state(value)


def test_a_state_of_another_version_is_refused() -> None:
    with pytest.raises(ContractError, match="version 3, but this worker reads versions 1 and 2"):
        decode_state(encode_state(LineState(version=3)))


def test_a_state_of_the_version_without_a_memory_is_read_as_cold() -> None:
    version_1 = msgspec.msgpack.encode([1, 7, 8, [], None, ["gap"], False, "line:abc"])
    expected = LineState(sequence=7, start_ns=8, flags=["gap"], restored=True, spec="line:abc")
    assert decode_state(version_1) == expected
    assert (expected.memory, expected.memory_of) == (b"", "")


def test_a_line_is_idle_without_episode_and_suspicion() -> None:
    quiet, faulty = RecentWindow(0, 1, 1, 0, []), RecentWindow(1, 1, 1, 0, [1.0])
    assert LineState().idle
    assert LineState(recent=[quiet]).idle
    assert not LineState(recent=[quiet, faulty]).idle
    assert not LineState(episode=OpenEpisode("e", 1, 0, 0)).idle


def test_two_states_share_nothing() -> None:
    LineState().flags.append("gap")
    assert LineState().flags == []
