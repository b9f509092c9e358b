"""Defaults of a training."""

from __future__ import annotations

__all__ = ["DEFAULT_ARCHITECTURE", "DEFAULT_SEED"]

DEFAULT_ARCHITECTURE = "gru"
DEFAULT_SEED = 2024
