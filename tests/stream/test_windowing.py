"""Cutting a waveform into windows and messages."""

from __future__ import annotations

from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.spec import load_spec
from stream.windowing import cut_windows, window_messages
from tests.stream.doubles import START_NS

SPEC = load_spec("line")


@given(st.integers(0, 120))
def test_there_are_as_many_windows_as_fit(length: int) -> None:
    windows = cut_windows(np.zeros((length, 6), np.float32), SPEC)
    assert windows.shape == (max(0, (length - 32) // 8 + 1), 32, 6)


@settings(max_examples=30)
@given(length=st.integers(0, 200), grouped=st.integers(1, 7), first=st.integers(0, 2**50))
def test_grouping_loses_no_window_and_numbers_them_in_order(length: int, grouped: int, first: int) -> None:
    samples = np.arange(length * 6, dtype=np.float32).reshape(length, 6)
    labels = np.arange(length)
    bodies = [
        msgspec.msgpack.decode(message.value)
        for message in window_messages(
            "l",
            samples,
            SPEC,
            rate_hz=1600.0,
            start_ns=START_NS,
            windows_per_message=grouped,
            labels=labels,
            first_sequence=first,
        )
    ]
    blocks = [np.frombuffer(body["data"], "<f4").reshape(-1, 32, 6) for body in bodies]
    expected = cut_windows(samples, SPEC)
    np.testing.assert_array_equal(np.concatenate([np.empty((0, 32, 6), np.float32), *blocks]), expected)
    numbers = [body["sequence"] + i for body in bodies for i in range(body["count"])]
    assert numbers == list(range(first, first + len(expected)))
    # The label of a window is that of its last sample.
    assert [label for body in bodies for label in body["labels"]] == [i * 8 + 31 for i in range(len(expected))]


@pytest.mark.parametrize("rate_hz", [1600.0, 1920.0, 1599.97])
def test_the_start_of_a_late_message_is_its_samples_time_rounded_once(rate_hz: float) -> None:
    # A quarter of an hour of windows that share the memory of one sample.
    windows = int(900 * rate_hz / SPEC.hop)
    length = (windows - 1) * SPEC.hop + SPEC.samples
    samples = np.lib.stride_tricks.as_strided(np.zeros(6, np.float32), (length, 6), (0, 4))
    messages = window_messages("l", samples, SPEC, rate_hz=rate_hz, start_ns=START_NS, windows_per_message=20_000)
    sequence = 0
    for message in messages:
        head = msgspec.msgpack.decode(message.value)
        exact = START_NS + Fraction(sequence * SPEC.hop * 10**9) / Fraction(rate_hz)
        assert head["sequence"] == sequence
        assert abs(head["start_ns"] - exact) <= Fraction(1, 2) + Fraction(1, 1000)
        sequence += head["count"]
    assert sequence == windows


def test_a_message_ends_after_its_last_sample() -> None:
    (message,) = window_messages("l", np.zeros((40, 6), np.float32), SPEC, rate_hz=1600.0, start_ns=0)
    assert message.end_ns == 40 * 625_000
