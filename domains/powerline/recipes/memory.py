"""Compute the memory that a training of `line` takes, from measurements.

The table compares the peak resident memory of the child process of a retraining on two cores, as measured, with the
value that ``line_memory`` computes before ``MemoryNeed`` multiplies it by ``ROOM``:

| | measured | computed |
|---|---|---|
| 2,000 episodes, while fitting | 1,119 MiB | 1,124 MiB |
| 6,144 episodes, while fitting | 1,258 MiB | 1,258 MiB |
| 163,840 episodes and 16,400 hard ones, while fitting | 6,295 MiB | 6,340 MiB |
| 194,560 episodes and 16,400 hard ones, while fitting | 7,127 MiB | 7,330 MiB |
| evaluation on 1 line | 1,473 MiB | 1,480 MiB |
| evaluation on 30 lines, its conditions at most 1,648 MiB | 2,621 MiB | 2,640 MiB |
"""

from __future__ import annotations

from training.memory_need import MemoryNeed

__all__ = ["LEAST_EPISODES", "LINE_EPISODES", "line_memory"]

LINE_EPISODES = 194_560
"""Number of episodes that the recipe simulates by default."""
LEAST_EPISODES = 10_000
"""Smallest number of episodes of a usable training, about a twentieth of the recipe's; the quality was not measured. An
evaluation on 30 lines takes as much memory as a training on 49,000 episodes, so this limit matters only if
FAULTLINE_EVALUATION_LINES is small."""
BASE_MB = 1060.0
EPISODE_KB = 33.0
"""Memory per episode: a sequence of 128 windows holds 1,048 samples of 24 bytes, and a fifth are held again as hard."""
WINDOW_KB = 2.4
EVALUATION_MB = 1440.0
EVALUATION_LINE_MB = 40.0
"""Memory per evaluated line at the peak, when the windows of all lines are compared with the training windows."""


def line_memory(evaluation_lines: int) -> MemoryNeed:
    """Return the memory of a training of `line` whose model is evaluated on ``evaluation_lines`` lines."""
    return MemoryNeed(
        base_mb=BASE_MB,
        episode_kb=EPISODE_KB,
        most_episodes=LINE_EPISODES,
        window_kb=WINDOW_KB,
        evaluation_mb=EVALUATION_MB + EVALUATION_LINE_MB * evaluation_lines,
        default_episodes=LINE_EPISODES,
        least_episodes=LEAST_EPISODES,
    )
