"""What a contender is told, and what it owes the harness.

A contender is run as ``python -m benchmarks.contenders.<name> FILE``, FILE holding ``ContenderSettings`` as JSON.
It joins ``group``, consumes ``input_topic`` from the earliest offset for ever, classifies every window with the
artefact, publishes to ``output_topic``, and commits offsets only after the broker has confirmed what was published
(no more often than every ``commit_interval_s``, where its library leaves that to it). It prints the line ``ready`` once
it consumes, and ends on SIGTERM. Standard output holds nothing else; standard error is kept as its log.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from model.frozen import FrozenModel

READY = "ready"


class ContenderSettings(FrozenModel):
    """One run of one contender."""

    bootstrap: str
    group: str
    input_topic: str
    output_topic: str
    """Answers, and events of all contenders but Faultline, whose events go to ``<output_topic>.faults.<type>``."""
    artefact: str | None = None
    """Path of the model; None is the shipped one."""
    publish: Literal["events", "answers"] = "events"
    """events: one record for a message with a window that is likely faulty. answers: one record for every message."""
    certainty: float = 0.6
    """Probability of any fault from which on a window counts as faulty."""
    windows_per_message: int = 1
    batch_windows: int = 2048
    """Most windows of one call of the engine."""
    batch_deadline_ms: float = 5.0
    """Longest that a window waits for its batch to fill, where the library can say so."""
    commit_interval_s: float = 1.0
    engine_threads: int | None = None
    """Threads of the engine; one per core when None."""
    lines: int = 50_000
    """Most lines on one partition."""

    @property
    def batch_records(self) -> int:
        """Messages that make a full batch."""
        return max(1, self.batch_windows // self.windows_per_message)


def settings_of_process() -> ContenderSettings:
    """Settings from the file named by the first argument."""
    return ContenderSettings.model_validate_json(Path(sys.argv[1]).read_bytes())


def say_ready() -> None:
    """Tell the harness that windows sent now would be judged."""
    print(READY, flush=True)
