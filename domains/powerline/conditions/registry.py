"""Hold the registry of the conditions of power lines."""

from __future__ import annotations

from training.evaluation.conditions.condition import Conditions

__all__ = ["CONDITIONS"]

CONDITIONS = Conditions()
