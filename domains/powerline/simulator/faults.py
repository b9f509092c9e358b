"""Define the eleven shunt faults: their classes in the order of the `line` spec, and their conductance matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CLASSES = ("none", "AG", "BG", "CG", "AB", "BC", "CA", "ABG", "BCG", "CAG", "ABC", "ABCG")
NONE = 0


def phases_of(name: str) -> NDArray[np.bool_]:
    """Return a mask (3,) of the phases A, B, C that the class ``name`` involves."""
    return np.array([name != "none" and p in name for p in "ABC"])


def _class_table() -> NDArray[np.int8]:
    """Return the index of the class by (phase A, phase B, phase C, ground); one phase without ground is no fault."""
    table = np.zeros((2, 2, 2, 2), dtype=np.int8)
    for index, name in enumerate(CLASSES):
        if name != "none":
            a, b, c = phases_of(name).astype(int)
            table[a, b, c, int(name.endswith("G"))] = index
    return table


CLASS_OF = _class_table()


def classes_of(resistance: NDArray[np.float64]) -> NDArray[np.int8]:
    """Return the class indices (n,) of fault stars ``resistance`` (n, 4): phases A, B, C and ground, inf = open."""
    joined = np.isfinite(resistance).astype(int)
    return np.asarray(CLASS_OF[joined[:, 0], joined[:, 1], joined[:, 2], joined[:, 3]])


def star(name: str, phase_ohm: NDArray[np.float64], ground_ohm: float) -> NDArray[np.float64]:
    """Return the fault star (4,) of a class: ``phase_ohm`` (3,) on its phases, ``ground_ohm`` if it involves ground."""
    ohm = np.full(4, np.inf)
    ohm[:3] = np.where(phases_of(name), phase_ohm, np.inf)
    ohm[3] = ground_ohm if name.endswith("G") else np.inf
    return ohm


def conductance(resistance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the conductance matrices (n, 3, 3) of fault stars (n, 4), after Kron reduction of the star point.

    The reduced star has the conductances g_p·δ_pq − g_p·g_q / (Σg + g_ground) between phases p and q.
    """
    with np.errstate(divide="ignore"):
        g = 1.0 / resistance
    phase, ground = g[:, :3], g[:, 3]
    total = phase.sum(axis=1) + ground
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(np.isfinite(total) & (total > 0), 1.0 / total, 0.0)
    reduced = -phase[:, :, None] * phase[:, None, :] * share[:, None, None]
    return np.asarray(reduced + phase[:, :, None] * np.eye(3))
