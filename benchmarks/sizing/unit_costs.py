"""Compute the costs of a message and of a window from the JSON of ``python -m benchmarks``, by pure functions.

The CPU time per message and per window is a straight line through runs with different numbers of windows per message,
so that runs with 1, 16 and 64 give the cost of any other number. CPU time hardly depends on other programs on the
machine, in contrast to rates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from benchmarks.contenders import OURS
from model.errors import FaultlineError
from model.frozen import FrozenModel

__all__ = ["SizingError", "UnitCosts"]


class SizingError(FaultlineError):
    """Unit costs or assumptions are invalid."""


class UnitCosts(FrozenModel):
    """Costs measured on one machine."""

    measured_on: str
    """Processor, cores and date, for a person."""
    load_before: float = Field(ge=0)
    """Load average of the machine at the start; above 1 the figures are only an estimate."""
    worker_cpu_s_per_message: float = Field(ge=0)
    worker_cpu_s_per_window: float = Field(gt=0)
    engine_cpu_s_per_window: float = Field(gt=0)
    """Share of ``worker_cpu_s_per_window`` that a GPU would take over."""
    broker_cpu_s_per_message: float = Field(ge=0)
    broker_cpu_s_per_window: float = Field(ge=0)
    messages_per_s_per_worker: float = Field(gt=0)
    """Rate with one window per message, limited by the worker's event loop, which is one thread."""
    worker_mb: float = Field(gt=0)

    @classmethod
    def from_bench(cls, document: Mapping[str, Any]) -> Self:
        """Create unit costs from the JSON of ``python -m benchmarks``, or from a JSON of these fields.

        Raises:
            SizingError: the document lacks a run of Faultline with one window per message, or one with more.
        """
        try:
            if "throughput" not in document:
                return cls.model_validate(document)
            return cls.model_validate(_costs_of(document))
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            raise SizingError(
                f"the file holds no unit costs ({error}): measure them by"
                f" python -m benchmarks --only {OURS} --windows-per-message 1,16,64 --out bench.json"
            ) from None


def _costs_of(document: Mapping[str, Any]) -> dict[str, Any]:
    runs = [run for run in document["throughput"] if run["contender"] == OURS and run["publish"] == "events"]
    per_message = np.array([run["windows_per_message"] for run in runs], float)
    if len(set(per_message)) < 2 or per_message.min() != 1:
        raise ValueError("it needs runs of Faultline with one window per message and with more")
    machine = document["machine"]
    worker = _line(per_message, [run["cpu_s_per_million"] for run in runs])
    broker = _line(per_message, [run["broker_cpu_s_per_million"] for run in runs])
    singles = [run["records_per_s"] for run in runs if run["windows_per_message"] == 1]
    engine_s = float(np.median(document["engine_alone_cpu_s_per_million"])) / 1e6
    return {
        "measured_on": f"{machine['cores']} cores of {machine['processor']}, {document['at'][:10]}",
        "load_before": machine["load_before"][0],
        "worker_cpu_s_per_message": worker[0],
        "worker_cpu_s_per_window": worker[1],
        "engine_cpu_s_per_window": min(engine_s, worker[1]),
        "broker_cpu_s_per_message": broker[0],
        "broker_cpu_s_per_window": broker[1],
        "messages_per_s_per_worker": float(np.median(singles)),
        "worker_mb": max(run["peak_rss_mb"] for run in runs),
    }


def _line(per_message: NDArray[np.float64], per_million: Sequence[float]) -> tuple[float, float]:
    """Fit CPU seconds per message and per window by least squares over runs; neither is negative."""
    seconds = np.asarray(per_million) / 1e6
    columns = np.stack([1 / per_message, np.ones_like(per_message)], axis=1)
    a, b = np.linalg.lstsq(columns, seconds, rcond=None)[0]
    if a < 0:
        return 0.0, float(seconds.mean())
    return float(a), float(b) if b > 0 else float(seconds.min())
