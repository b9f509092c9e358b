"""Define conditions of power lines for the robustness evaluation: faulty measurements, and other networks."""

from domains.powerline.conditions import measurement, network
from domains.powerline.conditions.registry import CONDITIONS

__all__ = ["CONDITIONS", "measurement", "network"]
