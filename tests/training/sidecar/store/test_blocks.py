"""Blocks return every bit of their windows, and store samples that windows share once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from model.spec import SignalSpec, load_spec
from training.sidecar.store.blocks import (
    MAX_BLOCK_NS,
    MAX_BLOCK_WINDOWS,
    UNLABELLED,
    Arrival,
    Block,
    Columns,
    decode,
    decode_times,
    encode,
)

LINE = load_spec("line")
INT64 = st.integers(-(2**63), 2**63 - 1)


def spec_of(samples: int, hop: int) -> SignalSpec:
    return LINE.model_copy(update={"samples": samples, "hop": hop})


@st.composite
def blocks(draw: st.DrawFn) -> tuple[Block, SignalSpec]:
    """Draw windows of any bits, with NaNs of any payload, that overlap exactly, or in all but one value."""
    spec = spec_of(draw(st.integers(1, 9)), draw(st.integers(1, 12)))
    count, channels = draw(st.integers(1, 6)), len(spec.channels)
    step = min(spec.hop, spec.samples)
    wave = draw(arrays.arrays(np.uint32, (spec.samples + (count - 1) * step, channels))).view(np.float32)
    view = np.lib.stride_tricks.sliding_window_view(wave, spec.samples, axis=0)[::step].transpose(0, 2, 1)
    windows = np.array(view)
    if draw(st.booleans()):
        place = tuple(draw(st.integers(0, size - 1)) for size in windows.shape)
        windows[place] = draw(st.floats(width=32))
    times = draw(arrays.arrays(np.int64, (2, count), elements=INT64))
    return Block("s", 0, 0, 0, 0, times[0], times[1], windows), spec


@given(blocks())
def test_a_block_gives_back_every_bit(made: tuple[Block, SignalSpec]) -> None:
    block, spec = made
    data = encode(block, spec)
    start_ns, sequence, windows = decode(data, len(block), spec)
    assert np.array_equal(start_ns, block.start_ns)
    assert np.array_equal(sequence, block.sequence)
    assert windows.shape == block.windows.shape
    assert np.array_equal(np.ascontiguousarray(windows).view(np.uint32), block.windows.view(np.uint32))
    for found, given_times in zip(decode_times(data, len(block)), (block.start_ns, block.sequence), strict=True):
        assert np.array_equal(found, given_times)


@given(blocks(), st.data())
def test_a_byte_that_changed_is_found(made: tuple[Block, SignalSpec], data: st.DataObject) -> None:
    block, spec = made
    encoded = bytearray(encode(block, spec))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    try:
        found = decode(bytes(encoded), len(block), spec)
    except ValueError:
        return
    # A few bits of zlib's own header have no effect on the data.
    assert np.array_equal(np.ascontiguousarray(found[2]).view(np.uint32), block.windows.view(np.uint32))


def test_samples_that_overlap_are_stored_once() -> None:
    wave = np.random.default_rng(1).standard_normal((4096, 6)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(wave, LINE.samples, axis=0)[:: LINE.hop].transpose(0, 2, 1)
    number = np.arange(len(windows))
    block = Block("s", 0, 0, 0, 0, number * 5_000_000, number, np.ascontiguousarray(windows))
    assert len(encode(block, LINE)) < 1.05 * wave.nbytes < 0.3 * windows.nbytes


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2), st.booleans(), st.sampled_from("xy")), min_size=1),
    st.integers(1, 1500),
)
def test_blocks_hold_all_windows_in_order_and_only_what_belongs_together(
    parts: list[tuple[int, int, bool, str]], longest: int
) -> None:
    arrivals = []
    for number, label, given_by_operator, source in parts:
        sequence = np.arange(number, number + max(1, longest // len(parts)))
        n = len(sequence)
        windows = np.zeros((n, 1, 1), np.float32)
        labels = np.full(n, label - 1, np.int16)
        times = np.full(n, int(given_by_operator))
        arrivals.append(Arrival(sequence * 1_000_000_000, sequence, windows, labels, times, 2, source, number))
    columns = Columns(arrivals)
    columns.tier[columns.label != UNLABELLED] = 0
    made = list(columns.blocks())
    assert np.array_equal(np.concatenate([block.sequence for block in made]), columns.sequence)
    assert sorted(columns.sequence) == sorted(np.concatenate([arrival.sequence for arrival in arrivals]))
    for block in made:
        assert 1 <= len(block) <= MAX_BLOCK_WINDOWS
        assert block.start_ns[-1] - block.start_ns[0] < MAX_BLOCK_NS
        assert (np.diff(block.sequence) == 1).all()
        assert (block.tier == 0) == (block.label != UNLABELLED)


@pytest.mark.parametrize("data", [b"", b"no block", bytes(100)])
def test_what_is_no_block_is_an_error(data: bytes) -> None:
    for read in (lambda: decode(data, 3, LINE), lambda: decode_times(data, 3)):
        with pytest.raises(ValueError, match=r".+"):
            read()
