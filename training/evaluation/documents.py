"""Parts of a report that an evaluation fills: what was judged on, slices, events, failures, rejection."""

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
    """The recipe's scores on another split, as the artefact tells them."""

    split: str
    windows: int
    macro_f1: float
    merged_macro_f1: float


class Slice(Document):
    """A part of the evaluation and how much of it is right."""

    dimension: str
    band: str
    episodes: int
    windows: int
    accuracy: float = Field(description="Merged.")


class Events(Document):
    """Episodes made of the windows, against the faults that were there; and among non-faults only."""

    injected: int
    found: int
    correct: int
    wrong: int
    missed: int
    false_alarms: int
    repeated: int
    line_hours: float
    delay_cycles_median: float | None = Field(description="Null where the spec has no cycles.")
    delay_cycles_p95: float | None
    delay_s_median: float | None = Field(None, exclude_if=is_absent, description="Where the spec has no cycles.")
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
        """Return those of both scenarios together."""
        hours = self.line_hours + self.disturbance_line_hours
        return (self.false_alarms + self.disturbance_false_alarms) / hours if hours else 0.0


class RejectionRow(Document):
    """How much of one kind of input is refused."""

    input: str
    windows: int
    rejected: float


class Rejection(Document):
    """How inputs unlike training are told."""

    bounds: dict[str, float] = Field(description="What a window must not exceed, or fall below.")
    rows: tuple[RejectionRow, ...]
    good_rejected: float


class Failure(Document):
    """A window or an event that went wrong, with its waveform; ``mark`` is the sample that it is about."""

    title: str
    truth: str
    said: str
    probability: float | None
    facts: dict[str, float | str]
    channels: tuple[str, ...]
    samples: tuple[tuple[float, ...], ...] = Field(description="One row per channel.")
    samples_per_cycle: int | None = Field(description="Null where the spec has no cycles.")
    rate_hz: float | None = Field(None, exclude_if=is_absent, description="Samples a second, where it has none.")
    mark: int
    quantities: Annotated[Mapping[str, tuple[int, ...]], SkipJsonSchema()] = Field({}, exclude=True)
    """Channels by the quantity that they measure: for the figure, no part of the document."""


class LeakageCheck(Document):
    """How many of ``of`` were found to leak."""

    question: str
    found: int
    of: int
    allowed: int | None = Field(0, description="Null: reported, but no reason to fail.")


class DataSummary(Document):
    """What was learned from, and what was judged on."""

    training: str
    evaluation: str
    parts: dict[str, int]
    leakage: tuple[LeakageCheck, ...]
