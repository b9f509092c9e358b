"""Scale on paper: from measured unit costs to partitions, workers, brokers, and what gives way first. Pure.

What was not measured (``unit_costs``) is an assumption with a name, a unit and a default (``Assumptions``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from benchmarks.sizing.unit_costs import SizingError, UnitCosts
from model.frozen import FrozenModel

__all__ = ["Assumptions", "Limit", "Plan", "limits", "plan"]

DAY_S = 86_400.0
RECORD_BYTES = 130
"""Beside the float32 block: the other fields in MessagePack, key, one header, the frame and its batch's share."""


class Assumptions(FrozenModel):
    """What was not measured here. Units are in the names."""

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
    partitions: int = Field(8, ge=1)
    """At first; as ``FAULTLINE_PARTITIONS``."""
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
    partition_count = max(given.partitions, worker_count, *(one.provided for one in partitions))
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


@dataclass(frozen=True)
class Limit:
    """What the smallest deployment has too little of, from so many lines on."""

    lines: int
    resource: str
    remedy: str


def limits(windows_per_s_per_line: float, costs: UnitCosts, given: Assumptions) -> list[Limit]:
    """In which order things are full when lines are added to one worker and as many brokers as there are replicas.

    Everything is proportional to lines, so each limit stands where its demand is what is there at first; the
    cluster's, where it has as many brokers as it may have.
    """
    many = 1_000_000_000
    large = plan(many, windows_per_s_per_line, costs, given)
    there = {"workers": 1, "partitions": given.partitions, "brokers": given.replication, "clusters": 1}
    found = [Limit(math.floor(many * there[one.of] / one.units), one.resource, one.remedy) for one in large.demands]
    gpu = Limit(math.floor(given.gpu_windows_per_s * given.busy_share / windows_per_s_per_line), "one GPU", "more GPUs")
    return sorted([*found, gpu], key=lambda limit: limit.lines)
