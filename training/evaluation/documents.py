"""Define the parts of a report that an evaluation supplies: data, slices, events, failures, rejection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from training.document import Document, is_absent

__all__ = [
    "DataSummary",
    "Elsewhere",
    "Events",
    "Failure",
    "LeakageCheck",
    "Rejection",
    "RejectionRow",
    "Slice",
]


class Elsewhere(Document):
    """The recipe's scores on another split, as recorded in the artefact."""

    split: str
    windows: int
    macro_f1: float
    merged_macro_f1: float


class Slice(Document):
    """The accuracy in a part of the evaluation."""

    dimension: str
    band: str
    episodes: int
    windows: int
    accuracy: float = Field(description="Share of correct windows, with equivalent classes merged.")


class Events(Document):
    """Scores of the detected episodes against the injected faults, and in a second scenario without faults."""

    injected: int
    found: int
    correct: int
    wrong: int
    missed: int
    false_alarms: int
    repeated: int
    line_hours: float
    delay_cycles_median: float | None = Field(description="Null if the spec has no cycles.")
    delay_cycles_p95: float | None
    delay_s_median: float | None = Field(None, exclude_if=is_absent, description="Only if the spec has no cycles.")
    delay_s_p95: float | None = Field(None, exclude_if=is_absent)
    disturbances: int
    disturbance_line_hours: float
    disturbance_false_alarms: int
    disturbance_by_kind: dict[str, int]

    def delay(self, which: Literal["median", "p95"]) -> tuple[float, str]:
        """Return the delay from inception to confirmation, and its unit."""
        cycles, seconds = getattr(self, f"delay_cycles_{which}"), getattr(self, f"delay_s_{which}")
        return (float(cycles), "cycles") if cycles is not None else (float(seconds or 0.0), "s")

    @property
    def false_alarms_per_line_hour(self) -> float:
        """Rate of false alarms in both scenarios together."""
        hours = self.line_hours + self.disturbance_line_hours
        return (self.false_alarms + self.disturbance_false_alarms) / hours if hours else 0.0


class RejectionRow(Document):
    """The share of one kind of input that is rejected."""

    input: str
    windows: int
    rejected: float


class Rejection(Document):
    """The bounds that reject out-of-distribution windows, and their effect."""

    bounds: dict[str, float] = Field(description="Limits that a window must not exceed, or must not fall below.")
    rows: tuple[RejectionRow, ...]
    good_rejected: float


class Failure(Document):
    """A misclassified window or a wrong event, with its waveform; ``mark`` is the sample in question."""

    title: str
    truth: str
    said: str
    probability: float | None
    facts: dict[str, float | str]
    channels: tuple[str, ...]
    samples: tuple[tuple[float, ...], ...] = Field(description="One row per channel.")
    samples_per_cycle: int | None = Field(description="Null if the spec has no cycles.")
    rate_hz: float | None = Field(
        None, exclude_if=is_absent, description="Samples per second, only if the spec has no cycles."
    )
    mark: int
    quantities: Annotated[Mapping[str, tuple[int, ...]], SkipJsonSchema()] = Field({}, exclude=True)
    """Channels by the quantity that they measure, for the figure; not part of the document."""


class LeakageCheck(Document):
    """The number of items, among ``of``, that are in the training data as well."""

    question: str
    found: int
    of: int
    allowed: int | None = Field(0, description="Largest number that passes; null if the check is for information.")


class DataSummary(Document):
    """The training data, the evaluation data, and the checks for leakage between them."""

    training: str
    evaluation: str
    parts: dict[str, int]
    leakage: tuple[LeakageCheck, ...]
