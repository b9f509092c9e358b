"""Scale on paper: from measured unit costs to partitions, workers, brokers, and what gives way first. Pure.

Unit costs are read from the JSON of ``faultline bench``: CPU per message and per window by a straight line through
runs with different numbers of windows per message, so that 1, 16 and 64 give what any other number costs.
Everything else is an assumption with a name, a unit and a default (``Assumptions``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.errors import FaultlineError

__all__ = ["Assumptions", "Plan", "SizingError", "UnitCosts", "breaks_first", "plan"]

WORKER = "faultline_worker"
DAY_S = 86_400.0
RECORD_BYTES = 130
"""Beside the float32 block: the other fields in MessagePack, key, one header, the frame and its batch's share."""


class SizingError(FaultlineError):
    """Unit costs or assumptions from which nothing can be computed."""


class UnitCosts(BaseModel):
    """What was measured, on one machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    measured_on: str
    """Processor, cores and day, for people."""
    load_before: float = Field(ge=0)
    """Load average of the machine when it began: above 1 the figures are no more than a hint."""
    worker_cpu_s_per_message: float = Field(ge=0)
    worker_cpu_s_per_window: float = Field(gt=0)
    engine_cpu_s_per_window: float = Field(gt=0)
    """The part of it that a GPU would take over."""
    broker_cpu_s_per_message: float = Field(ge=0)
    broker_cpu_s_per_window: float = Field(ge=0)
    messages_per_s_per_worker: float = Field(gt=0)
    """One window per message: beyond it a worker's event loop, one thread, is what is full."""
    worker_mb: float = Field(gt=0)

    @classmethod
    def from_bench(cls, document: Mapping[str, Any]) -> Self:
        """From the JSON of ``faultline bench``, or from a JSON of these fields.

        Raises:
            SizingError: it holds no run of Faultline with one window per message and one with more.
        """
        try:
            if "throughput" not in document:
                return cls.model_validate(document)
            return cls.model_validate(_costs_of(document))
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            raise SizingError(
                f"no unit costs in it ({error}): make them by"
                f" faultline bench --only {WORKER} --windows-per-message 1,16,64 --out bench.json"
            ) from None


def _costs_of(document: Mapping[str, Any]) -> dict[str, Any]:
    runs = [run for run in document["throughput"] if run["contender"] == WORKER and run["publish"] == "events"]
    per_message = np.array([run["windows_per_message"] for run in runs], float)
    if len(set(per_message)) < 2 or per_message.min() != 1:
        raise ValueError("runs of Faultline with one window per message and with more are needed")
    machine = document["machine"]
    worker = _line(per_message, [run["cpu_s_per_million"] for run in runs])
    broker = _line(per_message, [run["broker_cpu_s_per_million"] for run in runs])
    singles = [run["records_per_s"] for run in runs if run["windows_per_message"] == 1]
    engine_per_s = float(np.median(document["engine_alone_windows_per_s"]))
    return {
        "measured_on": f"{machine['cores']} cores of {machine['processor']}, {document['at'][:10]}",
        "load_before": machine["load_before"][0],
        "worker_cpu_s_per_message": worker[0],
        "worker_cpu_s_per_window": worker[1],
        # The engine keeps all cores busy, one thread each.
        "engine_cpu_s_per_window": min(machine["cores"] / engine_per_s, worker[1]),
        "broker_cpu_s_per_message": broker[0],
        "broker_cpu_s_per_window": broker[1],
        "messages_per_s_per_worker": float(np.median(singles)),
        "worker_mb": max(run["peak_rss_mb"] for run in runs),
    }


def _line(per_message: NDArray[np.float64], per_million: Sequence[float]) -> tuple[float, float]:
    """CPU seconds per message and per window, by least squares over runs; neither is below nothing."""
    seconds = np.asarray(per_million) / 1e6
    columns = np.stack([1 / per_message, np.ones_like(per_message)], axis=1)
    a, b = np.linalg.lstsq(columns, seconds, rcond=None)[0]
    if a < 0:
        return 0.0, float(seconds.mean())
    return float(a), float(b) if b > 0 else float(seconds.min())


class Assumptions(BaseModel):
    """What was not measured here. Units are in the names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    windows_per_message: int = Field(64, ge=1)
    """A gateway groups them: 64 are a third of a second of a line."""
    window_bytes: int = Field(768, gt=0)
    """32 samples of 6 channels in float32."""
    busy_share: float = Field(0.5, gt=0, le=1)
    """Of any capacity: what is left over takes a rebalance, a lost broker, a catch-up."""
    worker_cores: int = Field(4, ge=1)
    broker_cores: int = Field(8, ge=1)
    replication: int = Field(3, ge=1)
    readers: int = Field(2, ge=1)
    """Consumer groups on the windows: workers and trainer, or workers and a recorder."""
    retention_h: float = Field(24.0, gt=0)
    broker_network_bytes_per_s: float = Field(1.25e9, gt=0)
    """10 Gbit/s in each direction."""
    broker_disk_bytes: float = Field(10e12, gt=0)
    partition_bytes_per_s: float = Field(10e6, gt=0)
    lines_per_partition: int = Field(25_000, ge=1)
    """Half of ``FAULTLINE_MAX_LINES_PER_PARTITION``."""
    replicas_per_broker: int = Field(4000, ge=1)
    brokers_per_cluster: int = Field(60, ge=1)
    """Beyond it people split clusters, by region for instance; nothing of ours spans two."""
    gpu_windows_per_s: float = Field(1e6, gt=0)
    """Not measured where there is no GPU: the engine on one, transfers included."""
    core_price: float = Field(25.0, ge=0)
    """A month; only ratios matter."""
    disk_price_per_tb: float = Field(80.0, ge=0)
    """A month."""


@dataclass(frozen=True)
class Demand:
    """How much of one resource is needed, in units of what one of it may give, and what to do when it is short."""

    resource: str
    units: float
    of: Literal["workers", "partitions", "brokers", "clusters"]
    """What brings more of it."""
    remedy: str

    @property
    def provided(self) -> int:
        """Whole units."""
        return max(1, math.ceil(self.units - 1e-9))


@dataclass(frozen=True)
class Plan:
    """What so many lines at such a rate need.

    Attributes:
        lines, windows_per_s_per_line: of the question.
        windows_per_s, messages_per_s: of all lines.
        bytes_per_s: into the brokers, once.
        partitions: of ``sensor-windows`` and ``line-states``, over all clusters.
        workers: processes of ``worker_cores`` cores.
        brokers: at least three for three replicas.
        clusters: of brokers.
        broker_bytes_per_s: out of one broker, to followers and readers.
        disk_bytes: of all brokers, for the retention.
        gpus: where the engine runs on GPUs instead.
        gpu_share: of one GPU that the engine keeps busy; above 1 of several.
        cores_with_gpus: of all workers then.
        cost_driver: the largest part of the bill, and its share.
        demands: of every resource that can give way.
    """

    lines: int
    windows_per_s_per_line: float
    windows_per_s: float
    messages_per_s: float
    bytes_per_s: float
    partitions: int
    workers: int
    brokers: int
    clusters: int
    broker_bytes_per_s: float
    disk_bytes: float
    gpus: int
    gpu_share: float
    cores_with_gpus: float
    cost_driver: str
    demands: tuple[Demand, ...]


def plan(lines: int, windows_per_s_per_line: float, costs: UnitCosts, given: Assumptions) -> Plan:
    """Size a deployment.

    Args:
        lines: power lines that send.
        windows_per_s_per_line: 200 for a window every quarter cycle at 50 Hz.
        costs: measured.
        given: the rest.

    Example:
        >>> plan(1000, 200.0, costs, Assumptions()).workers  # doctest: +SKIP
        2
    """
    if lines < 1 or windows_per_s_per_line <= 0:
        raise SizingError(f"lines and rate must be above 0, got {lines} and {windows_per_s_per_line}")
    windows = lines * windows_per_s_per_line
    messages = windows / given.windows_per_message
    inflow = windows * given.window_bytes + messages * RECORD_BYTES
    busy = given.busy_share
    worker_cpu = messages * costs.worker_cpu_s_per_message + windows * costs.worker_cpu_s_per_window
    workers = (
        Demand(
            "workers' cores",
            worker_cpu / (given.worker_cores * busy),
            "workers",
            "more workers, or GPUs for the engine",
        ),
        Demand(
            "workers' event loops",
            messages / (costs.messages_per_s_per_worker * busy),
            "workers",
            "more windows per message, then more workers",
        ),
    )
    partitions = (
        Demand("bytes of a partition", inflow / given.partition_bytes_per_s, "partitions", "more partitions"),
        Demand("lines of a partition", lines / given.lines_per_partition, "partitions", "more partitions"),
    )
    worker_count = max(one.provided for one in workers)
    # A partition has one reader: at least one for every worker.
    partition_count = max(worker_count, *(one.provided for one in partitions))
    outflow = inflow * (given.replication - 1 + given.readers)
    disk = inflow * given.replication * given.retention_h / 24 * DAY_S
    broker_cpu = given.replication * (
        messages * costs.broker_cpu_s_per_message + windows * costs.broker_cpu_s_per_window
    )
    brokers = (
        Demand("brokers' network", outflow / (given.broker_network_bytes_per_s * busy), "brokers", "more brokers"),
        Demand(
            "brokers' disks", disk / (given.broker_disk_bytes * busy), "brokers", "shorter retention, or tiered storage"
        ),
        Demand("brokers' cores", broker_cpu / (given.broker_cores * busy), "brokers", "more brokers"),
        Demand(
            "brokers' partitions",
            2 * partition_count * given.replication / given.replicas_per_broker,
            "brokers",
            "more brokers, or larger partitions",
        ),
    )
    broker_count = max(given.replication, *(one.provided for one in brokers))
    cluster = Demand(
        "one cluster",
        broker_count / given.brokers_per_cluster,
        "clusters",
        "a cluster per region, its workers beside it",
    )
    gpu_share = windows / given.gpu_windows_per_s
    rest_cpu = worker_cpu - windows * costs.engine_cpu_s_per_window
    return Plan(
        lines=lines,
        windows_per_s_per_line=windows_per_s_per_line,
        windows_per_s=windows,
        messages_per_s=messages,
        bytes_per_s=inflow,
        partitions=partition_count,
        workers=worker_count,
        brokers=broker_count,
        clusters=cluster.provided,
        broker_bytes_per_s=outflow / broker_count,
        disk_bytes=disk,
        gpus=max(1, math.ceil(gpu_share / busy)),
        gpu_share=gpu_share,
        cores_with_gpus=rest_cpu / busy,
        cost_driver=_cost_driver(worker_count, broker_count, disk / busy, given),
        demands=(*workers, *partitions, *brokers, cluster),
    )


def _cost_driver(workers: int, brokers: int, disk_bytes: float, given: Assumptions) -> str:
    bill = {
        "workers' cores": workers * given.worker_cores * given.core_price,
        "brokers' cores": brokers * given.broker_cores * given.core_price,
        "brokers' disks": disk_bytes / 1e12 * given.disk_price_per_tb,
    }
    total = sum(bill.values())
    name = max(bill, key=lambda part: bill[part])
    return f"{name}, {bill[name] / total:.0%}" if total else "nothing"


def breaks_first(found: Plan) -> Demand:
    """Of a deployment as planned: the resource that is full first when lines are added and nothing else is."""
    provided = {
        "workers": found.workers,
        "partitions": found.partitions,
        "brokers": found.brokers,
        "clusters": found.clusters,
    }
    return max(found.demands, key=lambda one: one.units / provided[one.of])
