"""Assemble the six waveforms of a line from its channels, and compute those that follow from others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.record import CHANNELS, Finding

ROLES = ("ia", "ib", "ic", "in", "va", "vb", "vc", "vab", "vbc", "vca", "vn", "v0")
"""Uses of a line's channels: ``in`` is ia + ib + ic, ``vn`` is va + vb + vc, and ``v0`` a third of ``vn``."""

Values = NDArray[np.float32]


@dataclass(slots=True)
class Assembled:
    """The six waveforms of a line.

    Attributes:
        samples: float32 (t, 6), ia ib ic va vb vc in A and V, phase to ground; zeros for a missing channel.
        missing: names of the channels that are neither in the record nor follow from others.
        findings: computations that were made.
    """

    samples: Values
    missing: tuple[str, ...]
    findings: list[Finding] = field(default_factory=list)


def assembled(waves: Mapping[str, Values], rows: int, name: str) -> Assembled:
    """Assemble the six waveforms of a line.

    Args:
        waves: waveform float32 (t,) of every role that the record has, in A and V of the primary side.
        rows: number of samples t.
        name: name of the line, for findings.
    """
    samples = np.zeros((rows, len(CHANNELS)), np.float32)
    for column, channel in enumerate(CHANNELS):
        if channel in waves:
            samples[:, column] = waves[channel]
    missing = [channel for channel in CHANNELS if channel not in waves]
    pairs = [pair for pair in ("vab", "vbc", "vca") if pair in waves]
    if pairs and not any(channel in waves for channel in CHANNELS[3:]):
        samples[:, 3:] = _to_ground(waves, rows)
        missing = missing[:-3] + ([] if len(pairs) > 1 else ["va", "vb", "vc"])
    return Assembled(samples, tuple(missing))


def _to_ground(waves: Mapping[str, Values], rows: int) -> NDArray[np.float64]:
    """Convert vab, vbc, vca to va, vb, vc without zero sequence, float64 (t, 3).

    If one of the three is missing, it is the negative sum of the other two.
    """
    pairs = np.zeros((rows, 3))
    absent = [k for k, pair in enumerate(("vab", "vbc", "vca")) if pair not in waves]
    for k, pair in enumerate(("vab", "vbc", "vca")):
        if pair in waves:
            pairs[:, k] = waves[pair]
    if len(absent) == 1:
        pairs[:, absent[0]] = -pairs.sum(axis=1)
    return np.asarray((pairs - np.roll(pairs, 1, axis=1)) / 3)
