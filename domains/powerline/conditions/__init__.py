"""Define conditions of power lines: faulty measurements, other networks, broken couplings."""

from domains.powerline.conditions import measurement, mechanism, network
from domains.powerline.conditions.registry import CONDITIONS

__all__ = ["CONDITIONS", "measurement", "mechanism", "network"]
