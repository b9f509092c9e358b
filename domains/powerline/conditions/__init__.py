"""Conditions of power lines for the robustness evaluation: of the measurement, and of the network."""

from domains.powerline.conditions import measurement, network
from domains.powerline.conditions.registry import CONDITIONS

__all__ = ["CONDITIONS", "measurement", "network"]
