"""Conditions: the ways in which the world differs from training, in five steps each."""

from domains.powerline.conditions import measurement, network
from training.evaluation.conditions.condition import CONDITIONS, GOOD, LEVELS, Condition, Trial, chosen, register
from training.evaluation.conditions.results import ConditionCell, RobustnessResult

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
