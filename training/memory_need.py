"""The memory that a recipe's training takes, as it was measured, and the largest training that a memory allows."""

from __future__ import annotations

from dataclasses import dataclass

KIB_PER_MIB = 1024


@dataclass(frozen=True)
class MemoryNeed:
    """Resident memory of a process that trains a model and evaluates it: linear in what it learns from.

    Attributes:
        base_mb: MiB of a training of nothing: TensorFlow, the compiled steps, the windows that are always simulated.
        episode_kb: KiB per simulated episode.
        most_episodes: beyond so many, further episodes take no further memory.
        window_kb: KiB per labelled window of production.
        evaluation_mb: MiB at the height of the evaluation that follows, whatever was trained on.
        default_episodes: of the recipe where nothing else is asked for.
        least_episodes: with fewer, a model is not worth its evaluation.
    """

    base_mb: float
    episode_kb: float
    most_episodes: int
    window_kb: float
    evaluation_mb: float
    default_episodes: int
    least_episodes: int

    def needed_mb(self, episodes: int, windows: int = 0) -> int:
        """Return the MiB that a training and its evaluation take.

        Args:
            episodes: to simulate.
            windows: labelled ones of production, learned from as well.
        """
        kept = min(episodes, self.most_episodes)
        training = self.base_mb + (kept * self.episode_kb + windows * self.window_kb) / KIB_PER_MIB
        return round(max(training, self.evaluation_mb))

    def episodes_within(self, memory_mb: int, episodes: int, windows: int = 0) -> int:
        """Return the largest number of episodes up to ``episodes`` that fits into ``memory_mb``; 0 where none does."""
        if self.needed_mb(episodes, windows) <= memory_mb:
            return episodes
        if self.needed_mb(0, windows) > memory_mb:
            return 0
        left_kb = (memory_mb - self.base_mb) * KIB_PER_MIB - windows * self.window_kb
        return max(0, int(left_kb / self.episode_kb))
