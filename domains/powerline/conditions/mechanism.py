"""Define conditions of mechanism: they break what couples the channels, the windows or the times of a line.

Each alters good records in a way that no noise or gain error does: single samples stay plausible, but what a network
learned about their relation no longer holds. They apply to records and to lives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from domains.powerline.conditions.measurement import PAIRS, relabelled
from domains.powerline.conditions.records import every_moment, moments
from domains.powerline.conditions.registry import CONDITIONS
from domains.powerline.simulator.imperfections import Samples, permuted
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE
from training.data.episodes import Episodes
from training.evaluation.conditions.condition import Altered, Change, Value, with_samples

HOP = SAMPLES_PER_CYCLE // 4  # samples in which two interleaved sources take turns, at least
# Channels that trade places from a moment on, by the name of the severity, the mildest first.
LATER = {
    "both of two phases": ("pair", "pair"),
    "all rotated": ("rotated", "rotated"),
    "voltages of two phases": ("straight", "pair"),
    "currents of two phases": ("pair", "straight"),
    "voltages rotated": ("straight", "rotated"),
}
BURSTS = 4  # bursts of a loss after every inception


def _condition(name: str, unit: str, values: Sequence[Value], description: str) -> Callable[[Change], Change]:
    def registered(change: Change) -> Change:
        CONDITIONS.register(Altered(name, unit, values, description, change))
        return change

    return registered


@_condition(
    "swapped_later",
    "",
    tuple(LATER),
    "CTs or VTs of phases trade places at a random moment before the first event, as after work on the wiring.",
)
def _swapped_later(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    """Swap from a moment on; the true class follows the phases to which the currents are connected then."""
    n, since = len(clean), _before_first_event(clean, rng)
    straight = np.tile(np.arange(3), (n, 1))
    orders = {
        "straight": straight,
        "pair": PAIRS[rng.integers(0, 3, n)],
        "rotated": (straight + rng.integers(1, 3, (n, 1))) % 3,
    }
    currents, voltages = (orders[name] for name in LATER[str(value)])
    after = np.arange(clean.samples.shape[1]) >= since[:, None]
    return replace(
        clean,
        samples=np.where(after[:, :, None], permuted(clean.samples, currents, voltages), clean.samples),
        labels=np.where(after, relabelled(clean.labels, currents), clean.labels),
    )


@_condition(
    "clock_drift",
    "degrees",
    (10, 20, 45, 90, 150),
    "The clocks of currents and voltages drift apart, up to this angle at the end of the record.",
)
def _clock_drift(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    """Delay or advance the voltages more and more; the labels follow the currents."""
    total = clean.samples.shape[1]
    most = float(value) / 360 * SAMPLES_PER_CYCLE
    drift = np.where(rng.random(len(clean)) < 0.5, most, -most)[:, None] * np.linspace(0, 1, total)
    seen = clean.samples.copy()
    seen[:, :, 3:] = _at(clean.samples[:, :, 3:], np.arange(total) + drift)
    return with_samples(clean, seen)


@_condition(
    "interleaved",
    "%",
    (2, 5, 10, 20, 40),
    "This share of the time, another line's quiet samples appear under the line's id, at least a quarter cycle each.",
)
def _interleaved(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    """Insert blocks of the steady state of another record's line; samples of a fault are never replaced."""
    n, total = clean.samples.shape[:2]
    blocks = -(-total // HOP)
    foreign = np.repeat(rng.random((n, blocks)) < float(value) / 100, HOP, axis=1)[:, :total]
    # The other line is in its steady state: its first cycle, repeated.
    other = np.roll(clean.samples[:, :SAMPLES_PER_CYCLE], 1, axis=0)
    repeated = other[:, np.arange(total) % SAMPLES_PER_CYCLE]
    foreign &= clean.labels == clean.labels[:, :1]
    return with_samples(clean, np.where(foreign[:, :, None], repeated, clean.samples))


@_condition(
    "loss_bursts",
    "samples",
    (1, 2, 4, 8, 16),
    "Four losses of this many samples in the cycle after every inception; all channels keep their last value.",
)
def _loss_bursts(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    n, total = clean.samples.shape[:2]
    missing = np.zeros((n, total), bool)
    t = np.arange(total)
    for moment in every_moment(clean).T:
        for _ in range(BURSTS):
            start = (moment + rng.integers(0, SAMPLES_PER_CYCLE, n))[:, None]
            missing |= (t >= start) & (t < start + int(float(value)))
    return with_samples(clean, _held(clean.samples, missing))


@_condition(
    "frequency_ramp",
    "Hz",
    (0.5, 1, 2, 3.5, 5),
    "The frequency drifts by this much within the record, up or down, while one sample in fifty is lost.",
)
def _frequency_ramp(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    """Stretch the time of the record; labels and settled samples move with it."""
    n, total = clean.samples.shape[:2]
    nominal = np.array([float(line.get("nominal_hz", 50.0)) for line in clean.lines])
    slope = rng.choice([-1.0, 1.0], n) * float(value) / nominal / (total - 1)
    t = np.arange(total)
    # The first and the last sample keep their places: the frequency deviates by half of the drift at either end.
    positions = t + slope[:, None] / 2 * t * (t - (total - 1))
    nearest = np.clip(np.round(positions), 0, total - 1).astype(np.intp)
    moved = _at(clean.samples, positions)
    lost = rng.random((n, total)) < 1 / 50
    return replace(
        clean,
        samples=_held(moved, lost),
        labels=np.take_along_axis(clean.labels, nearest, axis=1),
        settled=np.take_along_axis(clean.settled, nearest, axis=1),
    )


@_condition(
    "ratio_step",
    "x",
    (1.2, 1.5, 2, 4, 10),
    "From a random moment before the first event on, currents are this many times too large or too small.",
)
def _ratio_step(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    """Change the ratio of the current transformers once, as if it was entered wrongly after maintenance."""
    since = _before_first_event(clean, rng)
    factor = np.where(rng.random(len(clean)) < 0.5, float(value), 1 / float(value)).astype(np.float32)
    after = np.arange(clean.samples.shape[1]) >= since[:, None]
    seen = clean.samples.copy()
    seen[:, :, :3] *= np.where(after, factor[:, None], np.float32(1))[:, :, None]
    return with_samples(clean, seen)


def _before_first_event(clean: Episodes, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw a sample (n,) between a record's begin and its first event, at least half a cycle before the latter."""
    latest = np.maximum(moments(clean) - SAMPLES_PER_CYCLE // 2, 1)
    return (rng.random(len(clean)) * latest).astype(np.intp)


def _held(samples: Samples, missing: NDArray[np.bool_]) -> Samples:
    """Return samples whose ``missing`` (n, t) ones keep the value before; the first sample is kept."""
    present = np.where(missing, 0, np.arange(samples.shape[1]))
    last = np.maximum.accumulate(present, axis=1)
    return np.take_along_axis(samples, last[:, :, None], axis=1)


def _at(samples: Samples, positions: NDArray[np.float64]) -> Samples:
    """Return records (n, t, channels) at fractional positions (n, t), by cubic interpolation."""
    last = samples.shape[1] - 1
    base = np.floor(positions).astype(np.intp)
    f = (positions - base).astype(np.float32)[:, :, None]
    p0, p1, p2, p3 = (
        np.take_along_axis(samples, np.clip(base + k, 0, last)[:, :, None], axis=1) for k in (-1, 0, 1, 2)
    )
    slope, bend = p2 - p0, 2 * p0 - 5 * p1 + 4 * p2 - p3
    return np.asarray(p1 + 0.5 * f * (slope + f * (bend + f * (3 * (p1 - p2) + p3 - p0))), np.float32)
