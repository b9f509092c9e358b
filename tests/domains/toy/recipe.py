"""How models of machines are trained: on windows of simulated ones."""

from __future__ import annotations

from pathlib import Path

from tests.domains.toy.signal import labelled_windows
from training.data.windows import Windows
from training.window_recipe import WindowRecipe


class MachineRecipe(WindowRecipe):
    """A GRU on the windows of some hundred machines."""

    default_epochs, default_episodes, evaluation_episodes = 8, 450, 150

    def windows(self, seed: int, episodes: int, data: Path | None) -> Windows:
        """Return the windows of ``episodes`` machines."""
        return labelled_windows(self.spec, seed, episodes)
