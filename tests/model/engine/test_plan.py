from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.engine import CPU_BUCKETS, cut
from model.engine.engine import ACCELERATOR_BLOCKS, CPU_BLOCKS
from model.engine.plan import plan

SHAPES = st.sampled_from([CPU_BLOCKS, ACCELERATOR_BLOCKS, ((1, 1),), ((7, 1), (4, 3)), ((2, 1), (1, 5))])


@given(st.integers(0, 20_000), st.integers(1, 64), st.sets(st.integers(1, 4096), min_size=1, max_size=8))
def test_a_cut_holds_every_window_and_pads_only_the_last_bucket(count: int, threads: int, sizes: set[int]) -> None:
    buckets = tuple(sorted(sizes))
    pieces = cut(count, threads, buckets)
    assert set(pieces) <= set(buckets)
    assert sum(pieces[:-1]) < count <= sum(pieces) if count else pieces == []


@given(st.integers(1, 20_000), st.integers(1, 16))
def test_the_default_buckets_pad_little(count: int, threads: int) -> None:
    padding = sum(cut(count, threads, CPU_BUCKETS)) - count
    assert padding <= max(24, 0.2 * count)


def test_one_large_bucket_or_many_small_ones_cover_a_batch() -> None:
    assert cut(3990, 1, (1, 4000)) == [4000]
    assert cut(2000, 1, (1,)) == [1] * 2000


def test_a_batch_is_spread_over_the_cores() -> None:
    assert cut(1024, 2, CPU_BUCKETS) == [512, 512]
    assert cut(512, 4, CPU_BUCKETS) == [64] * 8
    assert cut(40, 4, CPU_BUCKETS) in ([64], [32, 8])


@given(st.lists(st.integers(0, 200), max_size=300), st.integers(1, 4), SHAPES)
def test_every_window_is_in_one_block_and_a_lines_blocks_are_in_order(
    numbers: list[int], threads: int, shapes: tuple[tuple[int, int], ...]
) -> None:
    counts = np.asarray(numbers, np.intp)
    done = np.zeros(len(counts), np.intp)
    for one in plan(counts, threads, shapes):
        for block in one.blocks:
            assert (block.size, block.room) in shapes
            assert 0 < block.lines <= block.size
            assert 0 < block.steps <= block.room
            lines = one.lines[block.begin : block.begin + block.lines]
            assert (done[lines] == block.first).all(), "the windows before the block are done, and none is repeated"
            assert (counts[lines] > block.first).all(), "every line of the block has a window in it"
            done[lines] = np.minimum(counts[lines], block.first + block.steps)
    np.testing.assert_array_equal(done, counts)


@pytest.mark.parametrize(
    ("counts", "padding"),
    [
        pytest.param([171] * 16 + [170] * 8, 0.1, id="4,096 windows of 24 lines"),
        pytest.param([1000], 0.05, id="one line"),
        pytest.param([40] * 100, 0.05, id="100 lines"),
        pytest.param([100] * 10 + [1] * 54, 0.15, id="a backlog of few lines beside many lines"),
        pytest.param([1000, *[2] * 63], 0.05, id="a backlog of one line beside many lines"),
    ],
)
def test_typical_loads_are_padded_little(counts: list[int], padding: float) -> None:
    computed = sum(block.size * block.steps for one in plan(np.asarray(counts), 1, CPU_BLOCKS) for block in one.blocks)
    assert computed <= sum(counts) * (1 + padding)
