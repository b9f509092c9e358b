"""The registry that the conditions of power lines are added to."""

from __future__ import annotations

from training.evaluation.conditions.condition import Conditions

__all__ = ["CONDITIONS"]

CONDITIONS = Conditions()
