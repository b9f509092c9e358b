"""Conditions: the ways in which the world differs from training, in five steps each."""

from training.conditions import measurement, network
from training.conditions.condition import CONDITIONS, GOOD, LEVELS, Condition, Trial, chosen, register
from training.conditions.results import ConditionCell, RobustnessResult

__all__ = [
    "CONDITIONS",
    "GOOD",
    "LEVELS",
    "Condition",
    "ConditionCell",
    "RobustnessResult",
    "Trial",
    "chosen",
    "measurement",
    "network",
    "register",
]
