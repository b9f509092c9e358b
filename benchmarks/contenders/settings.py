"""Settings of a contender, and its obligations to the harness.

A contender runs as ``python -m benchmarks.contenders.<name> FILE``; FILE holds ``ContenderSettings`` as JSON. It joins
``group``, consumes ``input_topic`` from the earliest offset without end, classifies every window with the artefact, and
publishes to ``output_topic``. It commits offsets only after the broker has acknowledged the outputs, and at most once
per ``commit_interval_s`` if its library allows that. It prints the line ``ready`` once it consumes, and ends on
SIGTERM. Standard output holds nothing else; standard error is kept as its log.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from model.frozen import FrozenModel

READY = "ready"


class ContenderSettings(FrozenModel):
    """Settings of one run of one contender."""

    bootstrap: str
    group: str
    input_topic: str
    output_topic: str
    """Topic of answers and events. Faultline's events go to ``<output_topic>.faults.<type>`` instead."""
    artefact: str | None = None
    """Path of the model; None uses the shipped one."""
    publish: Literal["events", "answers"] = "events"
    """events: one record per message with a window that is probably faulty. answers: one record per message."""
    certainty: float = 0.6
    """Probability of any fault from which a window counts as faulty."""
    windows_per_message: int = 1
    batch_windows: int = 2048
    """Largest number of windows in one call of the engine."""
    batch_deadline_ms: float = 5.0
    """Longest time that a window waits for its batch to fill, if the library supports that."""
    commit_interval_s: float = 1.0
    engine_threads: int | None = None
    """Threads of the engine; one per core if None."""
    lines: int = 50_000
    """Largest number of lines on one partition."""

    @property
    def batch_records(self) -> int:
        """Number of messages in a full batch."""
        return max(1, self.batch_windows // self.windows_per_message)


def settings_of_process() -> ContenderSettings:
    """Read the settings from the file that the first argument names."""
    return ContenderSettings.model_validate_json(Path(sys.argv[1]).read_bytes())


def say_ready() -> None:
    """Signal to the harness that windows sent from now on are classified."""
    print(READY, flush=True)
