"""Compute partitions, workers, brokers and the first bottleneck from measured unit costs, by pure functions.

Everything that was not measured (``unit_costs``) is an assumption with a name, a unit and a default (``Assumptions``).
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
"""Bytes of a record besides the float32 block: other MessagePack fields, key, one header, frame, share of the batch."""


class Assumptions(FrozenModel):
    """Quantities that were not measured here. Their names contain the units."""

    windows_per_message: int = Field(64, ge=1)
    """Windows that a gateway groups in a message: 64 are a third of a second of a line."""
    window_bytes: int = Field(768, gt=0)
    """Bytes of a window: 32 samples of 6 channels in float32."""
    busy_share: float = Field(0.5, gt=0, le=1)
    """Planned utilisation of any capacity; the rest is a reserve for a rebalance, a lost broker or catching up."""
    worker_cores: int = Field(4, ge=1)
    broker_cores: int = Field(8, ge=1)
    replication: int = Field(3, ge=1)
    readers: int = Field(2, ge=1)
    """Consumer groups that read the windows: workers and trainer, or workers and a recorder."""
    retention_h: float = Field(24.0, gt=0)
    broker_network_bytes_per_s: float = Field(1.25e9, gt=0)
    """10 Gbit/s in each direction."""
    broker_disk_bytes: float = Field(10e12, gt=0)
    partitions: int = Field(8, ge=1)
    """Initial number of partitions, like ``FAULTLINE_PARTITIONS``."""
    partition_bytes_per_s: float = Field(10e6, gt=0)
    lines_per_partition: int = Field(25_000, ge=1)
    """Half of ``FAULTLINE_MAX_LINES_PER_PARTITION``."""
    replicas_per_broker: int = Field(4000, ge=1)
    brokers_per_cluster: int = Field(60, ge=1)
    """Largest usual size of a cluster; larger ones are split, e.g. by region. Faultline never spans two clusters."""
    gpu_windows_per_s: float = Field(1e6, gt=0)
    """Rate of the engine on one GPU, including transfers; not measured on machines without a GPU."""
    core_price: float = Field(25.0, ge=0)
    """Price per month; only ratios matter."""
    disk_price_per_tb: float = Field(80.0, ge=0)
    """Price per month."""


@dataclass(frozen=True)
class Demand:
    """Demand for one resource, in multiples of the usable capacity of one unit, and the remedy for a shortage."""

    resource: str
    units: float
    of: Literal["workers", "partitions", "brokers", "clusters"]
    """Kind of unit that adds capacity."""
    remedy: str

    @property
    def provided(self) -> int:
        """Number of whole units."""
        return max(1, math.ceil(self.units - 1e-9))


@dataclass(frozen=True)
class Plan:
    """Size of a deployment for a number of lines and a rate.

    Attributes:
        lines, windows_per_s_per_line: the given number of lines and rate.
        windows_per_s, messages_per_s: rates of all lines together.
        bytes_per_s: bytes into the brokers, without replication.
        partitions: partitions of ``sensor-windows`` and of ``line-states``, over all clusters.
        workers: number of processes with ``worker_cores`` cores.
        brokers: number of brokers, at least one per replica.
        clusters: number of Kafka clusters.
        broker_bytes_per_s: bytes sent by one broker to followers and readers.
        disk_bytes: disk space of all brokers for the retention.
        gpus: number of GPUs if the engine runs on GPUs.
        gpu_share: utilisation of the GPUs by the engine, in multiples of one GPU.
        cores_with_gpus: cores of all workers if the engine runs on GPUs.
        cost_driver: largest item of the costs, and its share.
        demands: demand for every resource that may become a bottleneck.
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
    """Compute the size of a deployment.

    Args:
        lines: number of power lines that send windows.
        windows_per_s_per_line: rate of one line; 200 for a window every quarter cycle at 50 Hz.
        costs: measured unit costs.
        given: all other assumptions.

    Raises:
        SizingError: the number of lines or the rate is not above 0.

    Example:
        >>> plan(1000, 200.0, costs, Assumptions()).workers  # doctest: +SKIP
        2
    """
    if lines < 1 or windows_per_s_per_line <= 0:
        raise SizingError(f"lines and rate must be above 0, not {lines} and {windows_per_s_per_line}")
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
            "add workers, or GPUs for the engine",
        ),
        Demand(
            "workers' event loops",
            messages / (costs.messages_per_s_per_worker * busy),
            "workers",
            "send more windows per message, then add workers",
        ),
    )
    partitions = (
        Demand("bytes of a partition", inflow / given.partition_bytes_per_s, "partitions", "add partitions"),
        Demand("lines of a partition", lines / given.lines_per_partition, "partitions", "add partitions"),
    )
    worker_count = max(one.provided for one in workers)
    # A partition has one reader, so every worker needs at least one partition.
    partition_count = max(given.partitions, worker_count, *(one.provided for one in partitions))
    outflow = inflow * (given.replication - 1 + given.readers)
    disk = inflow * given.replication * given.retention_h / 24 * DAY_S
    broker_cpu = given.replication * (
        messages * costs.broker_cpu_s_per_message + windows * costs.broker_cpu_s_per_window
    )
    brokers = (
        Demand("brokers' network", outflow / (given.broker_network_bytes_per_s * busy), "brokers", "add brokers"),
        Demand(
            "brokers' disks",
            disk / (given.broker_disk_bytes * busy),
            "brokers",
            "shorten the retention, or use tiered storage",
        ),
        Demand("brokers' cores", broker_cpu / (given.broker_cores * busy), "brokers", "add brokers"),
        Demand(
            "brokers' partitions",
            2 * partition_count * given.replication / given.replicas_per_broker,
            "brokers",
            "add brokers, or use fewer, larger partitions",
        ),
    )
    broker_count = max(given.replication, *(one.provided for one in brokers))
    cluster = Demand(
        "one cluster",
        broker_count / given.brokers_per_cluster,
        "clusters",
        "use one cluster per region, with its own workers",
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
    """Number of lines from which the smallest deployment lacks a resource."""

    lines: int
    resource: str
    remedy: str


def limits(windows_per_s_per_line: float, costs: UnitCosts, given: Assumptions) -> list[Limit]:
    """Return in which order resources are exhausted as lines are added to one worker and one broker per replica.

    All demands are proportional to the number of lines, so a limit lies where the demand equals the initial capacity.
    The limit of the cluster lies where it has its largest number of brokers.
    """
    many = 1_000_000_000
    large = plan(many, windows_per_s_per_line, costs, given)
    there = {"workers": 1, "partitions": given.partitions, "brokers": given.replication, "clusters": 1}
    found = [Limit(math.floor(many * there[one.of] / one.units), one.resource, one.remedy) for one in large.demands]
    gpu = Limit(math.floor(given.gpu_windows_per_s * given.busy_share / windows_per_s_per_line), "one GPU", "add GPUs")
    return sorted([*found, gpu], key=lambda limit: limit.lines)
