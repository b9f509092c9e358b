"""Define the base class of the documents that training writes: results, reports, gate verdicts."""

from __future__ import annotations

from typing import TypedDict

from model.frozen import FiniteModel
from model.spec import SignalSpec

__all__ = ["Delays", "Document", "delays", "is_absent"]


class Document(FiniteModel):
    """An immutable document with finite numbers only; an unknown field is an error."""


def is_absent(value: object) -> bool:
    """Return True if a document omits an optional field that only some specs have."""
    return value is None


class Delays(TypedDict):
    """The delays from inception to confirmation in a document: in cycles if the spec has them, else in seconds."""

    delay_cycles_median: float | None
    delay_cycles_p95: float | None
    delay_s_median: float | None
    delay_s_p95: float | None


def delays(spec: SignalSpec, median: float | None, p95: float | None) -> Delays:
    """Return the delay fields of a document.

    Args:
        spec: spec of the windows.
        median: in periods of the spec, or in window lengths if the spec has no period; None if unknown.
        p95: the 95th percentile, in the same unit.
    """
    if spec.period_samples is not None:
        return {"delay_cycles_median": median, "delay_cycles_p95": p95, "delay_s_median": None, "delay_s_p95": None}
    seconds = [None if value is None else round(value * spec.samples / spec.rate_hz, 9) for value in (median, p95)]
    return {
        "delay_cycles_median": None,
        "delay_cycles_p95": None,
        "delay_s_median": seconds[0],
        "delay_s_p95": seconds[1],
    }
