"""Train models of machines on windows of simulated machines."""

from __future__ import annotations

from pathlib import Path

import faultline

from .signal import labelled_windows


class MachineRecipe(faultline.WindowRecipe):
    """A GRU on the windows of some hundred machines. Training, report, gate and retraining follow from the windows."""

    default_epochs, default_episodes, evaluation_episodes = 8, 450, 150

    def windows(self, seed: int, episodes: int, data: Path | None) -> faultline.Windows:
        """Return the windows of ``episodes`` machines; another seed gives other machines."""
        return labelled_windows(self.spec, seed, episodes)
