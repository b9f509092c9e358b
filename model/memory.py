"""Tell which architectures have a memory, without Keras: readers of an artefact need not load it."""

from __future__ import annotations

__all__ = ["MEMORY_ARCHITECTURE", "memory_units"]

MEMORY_ARCHITECTURE = "gru-memory"
"""The architecture whose GRU steps from window to window of a line; its models have a memory."""
_MEMORY_UNITS = 96


def memory_units(architecture: str) -> int:
    """Return the number of values of an architecture's memory of a line, 0 for an architecture without one."""
    return _MEMORY_UNITS if architecture == MEMORY_ARCHITECTURE else 0
