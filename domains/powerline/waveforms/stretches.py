"""Group the segments of a record into stretches without a gap."""

from __future__ import annotations

from collections.abc import Sequence

from domains.powerline.waveforms.record import Segment

GAP_STEPS = 1.5
"""Multiple of the usual step above which a step means that samples are missing."""


def follows(before: Segment, after: Segment) -> bool:
    """Return True if a segment continues where the other ended, at any rate."""
    step = after.start_s - (before.next_s - 1 / before.rate_hz)
    return 0 < step <= GAP_STEPS * max(1 / before.rate_hz, 1 / after.rate_hz) + 3e-6


def stretches(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Group segments into stretches without a gap."""
    groups: list[list[Segment]] = []
    for segment in segments:
        if groups and follows(groups[-1][-1], segment):
            groups[-1].append(segment)
        else:
            groups.append([segment])
    return groups
