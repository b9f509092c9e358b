"""Measured memory of a training of `line`."""

from __future__ import annotations

from domains.powerline.data.line_data import WHOLLY_KEPT, Batches
from training.memory_need import MemoryNeed

__all__ = ["LINE_EPISODES", "line_memory"]

LINE_EPISODES = 400_000
"""Number of episodes that the recipe simulates by default."""
LEAST_EPISODES = 10_000
"""Fewest episodes of a training: with fewer, the rarer classes have hardly a hundred lines to learn from."""
BASE_MB = 1060.0
EPISODE_KB = 32.0
WINDOW_KB = 2.4
EVALUATION_MB = 1473.0
EVALUATION_LINE_MB = 10.0


def line_memory(evaluation_lines: int) -> MemoryNeed:
    """Return the memory of a training of `line` whose model is evaluated on ``evaluation_lines`` lines."""
    kept = Batches.of(LINE_EPISODES)
    return MemoryNeed(
        base_mb=BASE_MB,
        episode_kb=EPISODE_KB,
        # Above WHOLLY_KEPT training episodes the number of windows stays the same.
        most_episodes=round(WHOLLY_KEPT * LINE_EPISODES / (kept.mixed + kept.brief)),
        window_kb=WINDOW_KB,
        evaluation_mb=EVALUATION_MB + EVALUATION_LINE_MB * evaluation_lines,
        default_episodes=LINE_EPISODES,
        least_episodes=LEAST_EPISODES,
    )
