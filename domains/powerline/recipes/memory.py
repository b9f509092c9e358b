"""The memory that a training of `line` takes, as it was measured.

Resident memory at its height, of the child process of a retraining on two cores, and what ``line_memory`` computes
before ``MemoryNeed`` adds its room:

| | measured | computed |
|---|---|---|
| 100 episodes | 1,061 MiB | 1,043 MiB |
| 10,000 episodes, 138,000 windows | 1,337 MiB | 1,372 MiB |
| 25,000 episodes, 344,000 windows | 1,806 MiB | 1,870 MiB |
| 50,000 episodes, 688,000 windows | 2,685 MiB | 2,700 MiB |
| evaluation on 1 line | 1,473 MiB | 1,480 MiB |
| evaluation on 30 lines, its conditions at most 1,648 MiB | 2,621 MiB | 2,640 MiB |
"""

from __future__ import annotations

from domains.powerline.data.line_data import WHOLLY_KEPT, Batches
from training.memory_need import MemoryNeed

__all__ = ["LEAST_EPISODES", "LINE_EPISODES", "line_memory"]

LINE_EPISODES = 400_000
"""Number of episodes that the recipe simulates by default."""
LEAST_EPISODES = 10_000
"""Fewer, 138,000 windows, are less than a fortieth of what the recipe learns from. An evaluation on 30 lines takes the
memory of 48,000, so that this limit only counts where FAULTLINE_EVALUATION_LINES is small."""
BASE_MB = 1040.0
EPISODE_KB = 34.0
"""Three times the 768 bytes of each of an episode's 14 windows: as simulated, joined, and in the compiled steps."""
WINDOW_KB = 2.4
EVALUATION_MB = 1440.0
EVALUATION_LINE_MB = 40.0
"""At the height, windows of all lines are compared with those that were learned."""


def line_memory(evaluation_lines: int) -> MemoryNeed:
    """Return the memory of a training of `line` whose model is evaluated on so many lines."""
    learned = Batches.of(LINE_EPISODES)
    return MemoryNeed(
        base_mb=BASE_MB,
        episode_kb=EPISODE_KB,
        # Of more than WHOLLY_KEPT learned episodes as many windows are kept as of so many.
        most_episodes=round(WHOLLY_KEPT * LINE_EPISODES / (learned.mixed + learned.brief)),
        window_kb=WINDOW_KB,
        evaluation_mb=EVALUATION_MB + EVALUATION_LINE_MB * evaluation_lines,
        default_episodes=LINE_EPISODES,
        least_episodes=LEAST_EPISODES,
    )
