"""Estimate the memory of a recipe's training from measured figures, and the largest training that fits a memory."""

from __future__ import annotations

from dataclasses import dataclass

KIB_PER_MIB = 1024
ROOM = 1.1
"""Factor by which needs exceed the measured memory: more cores or another TensorFlow may take more, and a
process that exceeds its limit is killed."""


@dataclass(frozen=True)
class MemoryNeed:
    """Resident memory of a process that trains a model and evaluates it, linear in the amount of training data.

    Attributes:
        base_mb: MiB without training data: TensorFlow, the compiled steps, the windows that are always simulated.
        episode_kb: KiB per simulated episode.
        most_episodes: number of episodes beyond which further ones take no further memory.
        window_kb: KiB per labelled production window.
        evaluation_mb: peak MiB of the evaluation that follows, independent of the training data.
        default_episodes: the recipe's default number of episodes.
        least_episodes: smallest number of episodes with which a model is worth evaluating.
    """

    base_mb: float
    episode_kb: float
    most_episodes: int
    window_kb: float
    evaluation_mb: float
    default_episodes: int
    least_episodes: int

    def needed_mb(self, episodes: int, windows: int = 0) -> int:
        """Return the MiB that a training and its evaluation need, ``ROOM`` included.

        Args:
            episodes: number of episodes to simulate.
            windows: number of labelled production windows in the training data.
        """
        kept = min(episodes, self.most_episodes)
        training = self.base_mb + (kept * self.episode_kb + windows * self.window_kb) / KIB_PER_MIB
        return round(ROOM * max(training, self.evaluation_mb))

    def episodes_within(self, memory_mb: int, episodes: int, windows: int = 0) -> int:
        """Return the largest number of episodes, up to ``episodes``, that fits into ``memory_mb``; 0 if none fits."""
        if self.needed_mb(episodes, windows) <= memory_mb:
            return episodes
        if self.needed_mb(0, windows) > memory_mb:
            return 0
        left_kb = (memory_mb / ROOM - self.base_mb) * KIB_PER_MIB - windows * self.window_kb
        return max(0, int(left_kb / self.episode_kb))
