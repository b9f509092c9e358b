"""Define the answers for waveform files: the episodes and the verdict of every line."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from domains.powerline.waveforms import Finding, Record, RecordLine
from faultline.verdicts import Verdict
from model.frozen import FrozenModel
from stream.contract import FaultEvent, QualityFlag
from stream.detection.classify import is_rejected


class FaultEpisode(FrozenModel):
    """Fault on one line of a record, from onset to clearing, with the times of the record."""

    file: str
    line: str
    episode_id: str
    fault_class: str = Field(description="Class of the last onset or update.")
    fault_type: str
    phases: str
    ground: bool
    ground_probability: float
    confidence: float
    classes: list[str] = Field(description="Every class that the episode had, in order.")
    inception_ns: int = Field(description="Unix time of the inception.")
    inception_s: float = Field(description="Inception, seconds after the record's first sample.")
    detection_s: float = Field(description="Time at which the onset was confirmed, seconds after the first sample.")
    duration_s: float | None = Field(
        None, description="Inception to clearing, seconds; None if the record ends before the clearing."
    )
    duration_cycles: float | None = None
    quality: list[QualityFlag] = Field(default_factory=list)
    model_id: str


@dataclass(frozen=True, slots=True)
class LineAnswer:
    """Result of one line.

    Attributes:
        line: the line of the record.
        events: the events that a worker would have published.
        episodes: the same events summarised, one episode per fault.
        window_end_s: float64 (n,), time of every window's last sample, seconds after the record's first sample.
        probabilities: float32 (n, classes), after rejection.
        outcomes: number of windows per outcome: "judged" (classified in order; those without a usable answer included),
            "unknown" (out of distribution), …
        verdict: "fault", "no fault", or "not judged" if the model had too few windows that it can judge.
        reason: reason why the line was not judged, with the remedy; empty otherwise.
        findings: limits of the answer, such as a part of the record that was not judged.
    """

    line: RecordLine
    events: tuple[FaultEvent, ...]
    episodes: tuple[FaultEpisode, ...]
    window_end_s: NDArray[np.float64]
    probabilities: NDArray[np.float32]
    outcomes: Counter[str]
    verdict: Verdict = "no fault"
    reason: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def windows(self) -> int:
        """Return the number of windows."""
        return len(self.probabilities)

    @property
    def is_judged(self) -> NDArray[np.bool_]:
        """Return a mask (n,) of the windows for which the model has a usable answer."""
        return ~is_rejected(self.probabilities)

    @property
    def judged_windows(self) -> int:
        """Return the number of windows for which the model has a usable answer."""
        return int(self.is_judged.sum())


@dataclass(frozen=True, slots=True)
class FileResult:
    """Result of one file.

    Attributes:
        path: path of the file.
        record: the record; None if the file could not be read.
        answers: the result of every line.
        error: reason why the file could not be read or classified; None if it was. A file that was read and has no line
            is no error: it is not judged.
    """

    path: Path
    record: Record | None = None
    answers: tuple[LineAnswer, ...] = ()
    error: str | None = None

    @property
    def episodes(self) -> tuple[FaultEpisode, ...]:
        """Return the episodes of all lines in order of inception."""
        found = [episode for answer in self.answers for episode in answer.episodes]
        return tuple(sorted(found, key=lambda episode: (episode.inception_ns, episode.line)))

    @property
    def verdict(self) -> Verdict:
        """Return "fault" if any line has a fault, "not judged" if no line was judged, and "no fault" otherwise."""
        verdicts = {answer.verdict for answer in self.answers}
        if "fault" in verdicts:
            return "fault"
        return "no fault" if "no fault" in verdicts else "not judged"

    @property
    def reason(self) -> str:
        """Return the reasons for which the file, or some of its lines, were not judged; empty if all were."""
        if self.error is not None:
            return self.error
        if not self.answers:
            return self.record.no_line if self.record is not None else ""
        several = len(self.answers) > 1
        reasons = [
            f"{answer.line.name}: {answer.reason}" if several else answer.reason
            for answer in self.answers
            if answer.verdict == "not judged"
        ]
        return "; ".join(reasons)

    @property
    def outcomes(self) -> Counter[str]:
        """Return the number of windows per outcome, over all lines."""
        return sum((answer.outcomes for answer in self.answers), Counter())

    @property
    def windows(self) -> int:
        """Return the number of classified windows."""
        return sum(answer.windows for answer in self.answers)
