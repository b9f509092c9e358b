"""The largest training that a memory allows takes no more than it, and one episode more would."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from domains.powerline.recipes.memory import LEAST_EPISODES, LINE_EPISODES, line_memory

NEED = line_memory(30)


@given(st.integers(0, 40_000), st.integers(100, 2_000_000), st.integers(0, 400_000))
def test_what_fits_fits_and_no_more_would(memory_mb: int, asked: int, windows: int) -> None:
    episodes = NEED.episodes_within(memory_mb, asked, windows)
    assert 0 <= episodes <= asked
    if episodes:
        assert NEED.needed_mb(episodes, windows) <= memory_mb
    if episodes < asked:
        more = max(1, int(1024 / NEED.episode_kb))  # episodes of a MiB: the need is rounded to it
        assert NEED.needed_mb(min(asked, episodes + 2 * more), windows) >= memory_mb


@given(st.integers(100, 400_000), st.integers(0, 100_000))
def test_more_memory_never_makes_a_smaller_training(memory_mb: int, more_mb: int) -> None:
    assume(memory_mb < 60_000)
    smaller, larger = (NEED.episodes_within(mb, LINE_EPISODES) for mb in (memory_mb, memory_mb + more_mb))
    assert smaller <= larger


def test_more_episodes_than_the_recipes_are_assumed_to_take_no_more() -> None:
    assert NEED.most_episodes == LINE_EPISODES
    assert NEED.needed_mb(NEED.most_episodes) == NEED.needed_mb(10 * NEED.most_episodes)


def test_the_whole_recipe_fits_into_what_compose_gives_the_trainer_and_a_small_one_into_a_laptop() -> None:
    assert NEED.needed_mb(LINE_EPISODES) < 0.9 * 14 * 1024 - 500, "14 GiB, a tenth and the trainer itself aside"
    on_8_gb = NEED.episodes_within(3_500, LINE_EPISODES)
    assert LEAST_EPISODES < on_8_gb < LINE_EPISODES


MEASURED_MB = {2_000: 1119, 6_144: 1258, 163_840: 6295}
"""Episodes → MiB of the process while it fits."""
EVALUATION_MB = {1: 1473, 30: 2621}
"""Lines → MiB."""


def test_what_is_computed_is_what_was_measured_and_at_most_a_twentieth_more() -> None:
    for episodes, measured in MEASURED_MB.items():
        computed = NEED.base_mb + episodes * NEED.episode_kb / 1024
        assert 0.98 * measured < computed < 1.05 * measured, episodes
    for lines, measured in EVALUATION_MB.items():
        assert measured < line_memory(lines).evaluation_mb < 1.05 * measured, lines
