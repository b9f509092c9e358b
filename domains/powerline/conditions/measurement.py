"""Define conditions of the measurement: the clean records as inferior instruments would measure them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from domains.powerline.conditions.alterations import absent, coarser, distorted, noisy, one_of_three, subsiding
from domains.powerline.conditions.records import every_moment
from domains.powerline.conditions.registry import CONDITIONS
from domains.powerline.simulator.faults import CLASSES
from domains.powerline.simulator.imperfections import (
    jittered,
    lost,
    permuted,
    quantised,
    reversed_polarity,
    saturate,
    stuck,
    with_gaps,
)
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE
from training.data.episodes import Episodes
from training.evaluation.conditions.condition import Altered, Change, Value, with_samples

FULL_SCALE = np.where(np.arange(6) < 3, 40.0, 2.5)  # range of the converters, per unit
# Number of affected currents and voltages, by the name of the severity, the mildest first.
FEW_CHANNELS = {
    "1 voltage": (0, 1),
    "1 current": (1, 0),
    "2 voltages": (0, 2),
    "3 voltages": (0, 3),
    "2 currents": (2, 0),
}
TURNED = {
    "3 currents": (3, 0),
    "1 voltage": (0, 1),
    "1 current": (1, 0),
    "2 currents": (2, 0),
    "1 of each": (1, 1),
}
PAIRS = np.array([(1, 0, 2), (0, 2, 1), (2, 1, 0)])


def _condition(name: str, unit: str, values: Sequence[Value], description: str) -> Callable[[Change], Change]:
    def registered(change: Change) -> Change:
        CONDITIONS.register(Altered(name, unit, values, description, change))
        return change

    return registered


@_condition("noise", "dB", (40, 30, 20, 15, 10), "White noise, this far below the RMS value of the surrounding cycle.")
def _noise(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    return with_samples(clean, noisy(clean.samples, float(value), rng))


@_condition("ct_saturation", "x rated", (12, 8, 5, 3, 2), "CT saturation starts at this multiple of rated current.")
def _ct_saturation(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    n = len(clean)
    seen = clean.samples.copy()
    seen[:, :, :3] = saturate(seen[:, :, :3], np.full(n, float(value)), rng.uniform(-0.6, 0.6, (n, 3)))
    return with_samples(clean, seen)


@_condition("cvt_subsidence", "%", (5, 10, 20, 30, 40), "Share of the voltage that shows CVT subsidence.")
def _cvt_subsidence(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    return with_samples(clean, subsiding(clean.samples, float(value) / 100))


@_condition("harmonics", "%", (3, 6, 10, 15, 25), "Total of third, fifth and seventh harmonics in all channels.")
def _harmonics(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    return with_samples(clean, distorted(clean.samples, float(value) / 100, rng))


@_condition("jitter", "samples", (0.05, 0.1, 0.2, 0.3, 0.5), "Jitter of the sampling instants, as standard deviation.")
def _jitter(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    return with_samples(clean, jittered(clean.samples, np.full(len(clean), float(value)), rng))


@_condition(
    "quantisation", "bits", (12, 10, 9, 8, 7), "Resolution of converters with a range of 40 times rated current."
)
def _quantisation(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    steps = np.tile(2 * FULL_SCALE / 2.0 ** float(value), (len(clean), 1))
    return with_samples(clean, quantised(clean.samples, steps))


@_condition("gain_error", "%", (2, 5, 10, 15, 20), "Gain error of each channel, up or down by at most this.")
def _gain_error(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    gain = 1 + float(value) / 100 * rng.uniform(-1, 1, (len(clean), 1, 6))
    return with_samples(clean, clean.samples * gain.astype(np.float32))


@_condition(
    "current_rating",
    "x",
    (1.5, 2.5, 5, 10, 20),
    "Currents this many times too large or too small, as by a wrong CT ratio.",
)
def _current_rating(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    factor = np.ones((len(clean), 1, 6), np.float32)
    factor[:, :, :3] = np.where(rng.random((len(clean), 1, 1)) < 0.5, float(value), 1 / float(value))
    return with_samples(clean, clean.samples * factor)


@_condition("dc_offset", "%", (2, 5, 10, 15, 25), "DC offset of each channel, at most this share of the nominal peak.")
def _dc_offset(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    offset = float(value) / 100 * rng.uniform(-1, 1, (len(clean), 1, 6))
    return with_samples(clean, clean.samples + offset.astype(np.float32))


@_condition("lost_channel", "", tuple(FEW_CHANNELS), "Channels that read zero in the whole record.")
def _lost_channel(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    return with_samples(clean, lost(clean.samples, one_of_three(len(clean), *FEW_CHANNELS[str(value)], rng)))


@_condition("stuck_channel", "", tuple(FEW_CHANNELS), "Channels that keep their value from a random sample on.")
def _stuck_channel(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    channels = one_of_three(len(clean), *FEW_CHANNELS[str(value)], rng)
    since = rng.integers(SAMPLES_PER_CYCLE, clean.samples.shape[1], len(clean))
    return with_samples(clean, stuck(clean.samples, channels, since))


@_condition("phase_loss", "cycles", (1, 2, 4, 8, 24), "Current and voltage of one phase read zero for this long.")
def _phase_loss(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    n, total = clean.samples.shape[:2]
    length = min(total, round(float(value) * SAMPLES_PER_CYCLE))
    phase = rng.integers(0, 3, (n, 1))
    channels = np.arange(6) % 3 == phase
    samples = clean.samples
    for moment in every_moment(clean).T:
        early = (rng.random(n) * length).astype(np.intp)
        start = np.where(moment < total, np.clip(moment - early, 0, total - length), total)
        samples = absent(samples, channels, start, length)
    return with_samples(clean, samples)


@_condition(
    "swapped_phases",
    "",
    ("rotated", "two phases", "two voltages", "two currents", "voltages rotated"),
    "Miswired phases. The true class follows the phases to which the currents are connected.",
)
def _swapped_phases(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    n = len(clean)
    straight = np.tile(np.arange(3), (n, 1))
    rotated = (straight + rng.integers(1, 3, (n, 1))) % 3
    pair = PAIRS[rng.integers(0, 3, n)]
    currents, voltages = {
        "rotated": (rotated, rotated),
        "two phases": (pair, pair),
        "two voltages": (straight, pair),
        "two currents": (pair, straight),
        "voltages rotated": (straight, rotated),
    }[str(value)]
    return replace(
        clean, samples=permuted(clean.samples, currents, voltages), labels=relabelled(clean.labels, currents)
    )


@_condition("reversed_ct", "", tuple(TURNED), "Reversed polarity of CTs, or of one VT.")
def _reversed_ct(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    channels = one_of_three(len(clean), *TURNED[str(value)], rng)
    return with_samples(clean, reversed_polarity(clean.samples, channels))


@_condition(
    "gap", "samples", (4, 8, 16, 32, 64), "All channels keep their last value for this long near the inception."
)
def _gap(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    length, samples = np.full(len(clean), int(float(value))), clean.samples
    for moment in every_moment(clean).T:
        start = np.maximum(moment + SAMPLES_PER_CYCLE - (rng.random(len(clean)) * 64).astype(np.intp), 1)
        samples = with_gaps(samples, np.where(moment < samples.shape[1], start, samples.shape[1]), length)
    return with_samples(clean, samples)


@_condition("rate", "per cycle", (24, 16, 12, 8, 6), "Lower sampling rate (16 is half), then linear interpolation.")
def _rate(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    return with_samples(clean, coarser(clean.samples, float(value)))


def relabelled(labels: NDArray[np.int8], order: NDArray[np.intp]) -> NDArray[np.int8]:
    """Return labels (n, t) of records whose k-th current input is connected to phase ``order[:, k]`` (n, 3)."""
    orders, which = np.unique(order, axis=0, return_inverse=True)
    table = np.array([[_renamed(name, connected) for name in CLASSES] for connected in orders], np.int8)
    return np.asarray(table[which.reshape(-1)[:, None], labels])


def _renamed(name: str, order: NDArray[np.intp]) -> int:
    if name == "none":
        return CLASSES.index(name)
    phases = {"ABC"[k] for k in range(3) if "ABC"[order[k]] in name}
    ground = name.endswith("G")
    return next(i for i, c in enumerate(CLASSES) if set(c) - {"G"} == phases and c.endswith("G") == ground)
