"""Find and repair missing, constant and clipped values, missing channels and time skew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import shift

from domains.powerline.waveforms.record import CHANNELS, Finding, RawChannel, Segment

BRIDGED_SECONDS = 0.004
"""Longest gap of missing values that is interpolated: over a fifth of a cycle, a straight line stays near the wave."""
LEAST_SKEW_US = 1.0
CLIPPED_SHARE = 0.01
"""Share of samples at the two extremes from which a channel counts as clipped; a sine has few samples there."""
CLIPPED_RUN = 4

Values = NDArray[np.float32]


def without_holes(
    values: Values, channels: Sequence[RawChannel], segments: tuple[Segment, ...], findings: list[Finding]
) -> tuple[Segment, ...]:
    """Interpolate short holes of missing values, and cut segments at long holes that all channels share.

    Args:
        values: float32 (channels, t), NaN where missing; changed in place: a hole that is neither interpolated nor cut
            becomes zero.
        channels: the channels of ``values``.
        segments: segments of the record.
        findings: findings are added here.

    Returns:
        The segments without the long holes.
    """
    holes = np.isnan(values)
    if not holes.any():
        return segments
    everywhere = np.asarray(holes.all(axis=0))
    kept: list[Segment] = []
    for segment in segments:
        longest = max(1, int(BRIDGED_SECONDS * segment.rate_hz))
        cuts = [(a, b) for a, b in _runs(everywhere[segment.first : segment.stop]) if b - a > longest]
        begin = 0
        for a, b in [*cuts, (len(segment), len(segment))]:
            if a > begin:
                first = segment.first + begin
                at = segment.start_s + begin / segment.rate_hz
                kept.append(Segment(first, segment.first + a, segment.rate_hz, at))
            begin = b
        if cuts:
            lost = sum(b - a for a, b in cuts)
            message = f"{lost:,} samples have no value in any channel: a new run of windows begins after them"
            findings.append(Finding("warning", "gap", message))
    rate_hz = max((segment.rate_hz for segment in kept), default=1.0)
    for channel, row, missing in zip(channels, values, holes, strict=True):
        if missing.any():
            _bridge(channel, row, missing, rate_hz, findings)
    return tuple(kept)


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def place_of(channel: RawChannel) -> str:
    """Return the text by which findings name a channel."""
    return f"channel {channel.number} {channel.name}"


def _bridge(
    channel: RawChannel, row: Values, missing: NDArray[np.bool_], rate_hz: float, findings: list[Finding]
) -> None:
    name = place_of(channel)
    there = np.flatnonzero(~missing)
    if not len(there):
        row[:] = 0
        findings.append(
            Finding("warning", "channel-empty", "the channel has no values: it is assumed to be zero", name)
        )
        return
    longest = max(1, int(BRIDGED_SECONDS * rate_hz))
    absent = np.flatnonzero(missing)
    row[absent] = np.interp(absent, there, row[there])
    long = [(a, b) for a, b in _runs(missing) if b - a > longest]
    for a, b in long:
        row[a:b] = 0
    zeroed = sum(b - a for a, b in long)
    bridged = len(absent) - zeroed
    done = [f"{bridged:,} interpolated"] * (bridged > 0) + [f"{zeroed:,} in long gaps set to zero"] * (zeroed > 0)
    level = "warning" if zeroed else "note"
    message = f"{len(absent):,} values are missing: {', '.join(done)}"
    findings.append(Finding(level, "missing-values", message, name))  # type: ignore[arg-type]


def without_skew(channel: RawChannel, values: Values, segments: Sequence[Segment]) -> Values:
    """Return the values shifted in time, as if all channels had been sampled at the same time."""
    if abs(channel.skew_us) < LEAST_SKEW_US:
        return values
    moved = values.copy()
    for segment in segments:
        # Sample k was taken later than its nominal time by the skew, so its value moves to a later position.
        part = slice(segment.first, segment.stop)
        samples = float(np.clip(channel.skew_us * 1e-6 * segment.rate_hz, -len(segment), len(segment)))
        moved[part] = shift(values[part], samples, order=min(3, len(segment) - 1), mode="nearest")
    return moved


def clipped(values: Values) -> bool:
    """Return True if a waveform is flat at its extremes, as when a converter or amplifier reaches its limit.

    Example:
        >>> wave = np.sin(np.arange(1000) / 16).astype(np.float32)
        >>> clipped(wave), clipped(np.clip(wave, -0.7, 0.7))
        (False, True)
    """
    top, bottom = float(values.max(initial=0)), float(values.min(initial=0))
    if top <= 0 or bottom >= 0:
        return False
    near = 1e-6 * (top - bottom)
    # With four samples per cycle every sample may be at one of the extremes, but not several in a row at the same one.
    return sum(_in_runs(flat) for flat in (values >= top - near, values <= bottom + near)) >= CLIPPED_SHARE * len(
        values
    )


def _in_runs(flat: NDArray[np.bool_]) -> int:
    """Return the number of samples in runs that are as long as those of a clipped waveform."""
    if flat.mean() < CLIPPED_SHARE / 2:
        return 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat, [False]])))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths >= CLIPPED_RUN].sum())


def channel_findings(samples: Values, missing: Sequence[str], name: str) -> list[Finding]:
    """Return the findings about a line's six waveforms, float32 (t, 6): missing, constant or clipped channels."""
    findings = []
    if missing:
        are, they = ("are", "they are") if len(missing) > 1 else ("is", "it is")
        message = f"{', '.join(missing)} {are} not in the record: {they} assumed to be zero"
        findings.append(Finding("warning", "missing-channel", message, name))
    for k, channel in enumerate(CHANNELS):
        if channel in missing:
            continue
        wave = samples[:, k]
        if wave.min() == wave.max():
            findings.append(Finding("warning", "dead-channel", f"{channel} is constant", name))
        elif clipped(wave):
            findings.append(Finding("warning", "clipped", f"{channel} is clipped at its extremes", name))
    return findings
