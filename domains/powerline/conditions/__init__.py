"""Define conditions of power lines: faulty measurements, broken couplings, other networks and other events."""

from domains.powerline.conditions import (
    measurement,
    mechanism,
    network,
    network_events,
    network_grids,
    partial_measurement,
)
from domains.powerline.conditions.registry import CONDITIONS

__all__ = [
    "CONDITIONS",
    "measurement",
    "mechanism",
    "network",
    "network_events",
    "network_grids",
    "partial_measurement",
]
