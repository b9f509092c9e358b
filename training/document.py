"""The base of the documents that training writes: results, reports, verdicts."""

from __future__ import annotations

from typing import TypedDict

from model.frozen import FiniteModel
from model.spec import SignalSpec

__all__ = ["Delays", "Document", "delays", "is_absent"]


class Document(FiniteModel):
    """A document that is never changed, knows no further fields, and holds finite numbers only."""


def is_absent(value: object) -> bool:
    """Return whether an optional field is left out of a document, as those are that only some specs have."""
    return value is None


class Delays(TypedDict):
    """Fields of documents: from inception to confirmation, in cycles where the spec has those, else in seconds."""

    delay_cycles_median: float | None
    delay_cycles_p95: float | None
    delay_s_median: float | None
    delay_s_p95: float | None


def delays(spec: SignalSpec, median: float | None, p95: float | None) -> Delays:
    """Return delays as documents have them.

    Args:
        spec: of the windows.
        median: in periods of the spec, or in lengths of its windows where it has no period; None where not known.
        p95: 95th percentile, likewise.
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
