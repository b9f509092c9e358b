"""Define conditions that alter labelled windows of any spec, without a simulator.

A recipe whose windows come from a file returns ``window_conditions(spec)`` as its conditions and a ``WindowReference``
as its reference. Channels are altered relative to their own size, so that units do not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from training.data.classifier import Baseline
from training.data.episodes import Episodes
from training.data.windows import Windows
from training.evaluation.conditions.condition import LEVELS, Altered, Condition, Conditions, Trial, Value, with_samples

__all__ = ["WINDOWS_PER_RECORD", "WindowReference", "window_conditions"]

WINDOWS_PER_RECORD = 10
"""Number of single windows that are scored for each record of a robustness run."""
PLACE = "place"  # name of a record's place in time, from 0 to 1, among the evaluated windows of its episode


@dataclass(frozen=True)
class WindowReference:
    """Clean windows of a file, each a record of its own, for ``training.evaluation.robustness.evaluate``.

    Attributes:
        spec: spec of the windows.
        windows: windows unseen in training, in order of time within each episode.
        baselines: fixed classifiers by name.
    """

    spec: SignalSpec
    windows: Windows
    baselines: Mapping[str, Baseline] = field(default_factory=dict)

    def clean_records(self, n: int, seed: int) -> Episodes:
        """Draw ``n`` times ``WINDOWS_PER_RECORD`` windows, or return all if there are fewer."""
        place = _places(self.windows.episode)
        drawn = np.random.default_rng(seed).permutation(len(self.windows))[: n * WINDOWS_PER_RECORD]
        chosen = np.sort(drawn)
        samples = np.ascontiguousarray(self.windows.data[chosen])
        labels = np.repeat(self.windows.labels[chosen, None].astype(np.int8), samples.shape[1], axis=1)
        return Episodes(
            samples,
            labels,
            np.ones(labels.shape, bool),
            ((),) * len(chosen),
            tuple({PLACE: float(place[k])} for k in chosen),
        )

    def clean_lives(self, n: int, seed: int) -> Episodes | None:
        """Return None: single windows have no life."""
        return None


class TimeBlock(Condition):
    """Condition that scores the clean windows of one of five blocks of time, which training has not seen."""

    def trial(self, clean: Episodes, level: int, seed: int) -> Trial:
        """Return the windows of block ``level``, counted from the beginning of the evaluated windows."""
        place = np.array([float(line.get(PLACE, 0.0)) for line in clean.lines])
        chosen = np.sort(np.array_split(np.argsort(place, kind="stable"), LEVELS)[level - 1])
        return Trial(
            Episodes(
                clean.samples[chosen],
                clean.labels[chosen],
                clean.settled[chosen],
                tuple(clean.events[k] for k in chosen),
                tuple(clean.lines[k] for k in chosen),
            )
        )


def window_conditions(spec: SignalSpec) -> Conditions:
    """Return the conditions of labelled windows of ``spec``; channels trade places only within their group."""

    def swapped(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
        return _swapped(clean, value, rng, groups)

    groups = [np.array(list(group)) for group in spec.groups.values() if len(group) > 1]
    conditions = Conditions()
    for name, unit, values, description, change in (
        ("noise", "dB", (40, 30, 20, 15, 10), "White noise, this far below the RMS value of each channel.", _noise),
        ("gain", "%", (2, 5, 10, 15, 20), "Gain error of each channel, up or down by at most this.", _gain),
        ("offset", "%", (2, 5, 10, 15, 25), "Offset of each channel, at most this share of its RMS value.", _offset),
        (
            "quantisation",
            "bits",
            (10, 8, 6, 5, 4),
            "Resolution of a converter whose range is the channel's.",
            _quantised,
        ),
        ("lost", "%", (0, 10, 20, 35, 50), "One channel reads zero, and each other one with this probability.", _lost),
        (
            "stuck",
            "%",
            (0, 10, 20, 35, 50),
            "One channel has a value of another time, and each other one with this probability.",
            _stuck,
        ),
    ):
        conditions.register(Altered(name, unit, values, description, change))
    if groups:
        text = "In this share of the windows, the channels of a group trade places; the label stays."
        conditions.register(Altered("swapped", "%", (20, 40, 60, 80, 100), text, swapped))
    blocks = ("first", "second", "third", "fourth", "fifth")
    conditions.register(
        TimeBlock("time_block", "", blocks, "Only windows of one block of time, the last one farthest from training.")
    )
    return conditions


def _places(episode: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the place (n,) of every window among those of its episode, from 0 to 1."""
    place = np.empty(len(episode))
    for number in np.unique(episode):
        rows = np.flatnonzero(episode == number)
        place[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    return place


def _rms(clean: Episodes) -> NDArray[np.float32]:
    """Return the RMS value (channels,) of every channel over all clean windows."""
    return np.asarray(np.sqrt(np.square(clean.samples, dtype=np.float64).mean(axis=(0, 1))), np.float32)


def _noise(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    deviation = _rms(clean) * np.float32(10 ** (-float(value) / 20))
    noise = rng.standard_normal(clean.samples.shape, dtype=np.float32)
    return with_samples(clean, clean.samples + noise * deviation)


def _gain(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    gain = 1 + float(value) / 100 * _uniform(clean, rng)
    return with_samples(clean, clean.samples * gain.astype(np.float32))


def _offset(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    offset = float(value) / 100 * _uniform(clean, rng) * _rms(clean)
    return with_samples(clean, clean.samples + offset.astype(np.float32))


def _quantised(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    largest = np.abs(clean.samples).max(axis=(0, 1), initial=0)
    step = np.where(largest > 0, 2 * largest / 2 ** float(value), 1).astype(np.float32)
    return with_samples(clean, np.round(clean.samples / step) * step)


def _lost(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    channels = _some(clean, value, rng)
    return with_samples(clean, np.where(channels[:, None], np.float32(0), clean.samples))


def _stuck(clean: Episodes, value: Value, rng: np.random.Generator) -> Episodes:
    channels = _some(clean, value, rng)
    other = clean.samples[rng.permutation(len(clean)), :1]
    return with_samples(clean, np.where(channels[:, None], other, clean.samples))


def _swapped(clean: Episodes, value: Value, rng: np.random.Generator, groups: list[NDArray[np.intp]]) -> Episodes:
    n, channels = len(clean), clean.samples.shape[2]
    order = np.tile(np.arange(channels), (n, 1))
    affected = rng.random(n) < float(value) / 100
    which = rng.integers(0, len(groups), n)
    for number, group in enumerate(groups):
        turned = np.roll(group, 1)
        order[np.ix_(affected & (which == number), group)] = turned
    return with_samples(clean, np.take_along_axis(clean.samples, order[:, None], axis=2))


def _uniform(clean: Episodes, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a number from -1 to 1 for every window and channel, (n, 1, channels)."""
    return rng.uniform(-1, 1, (len(clean), 1, clean.samples.shape[2]))


def _some(clean: Episodes, value: Value, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw the channels (n, channels) that are affected: one, and each other one with a probability in per cent."""
    n, channels = len(clean), clean.samples.shape[2]
    chosen = rng.random((n, channels)) < float(value) / 100
    chosen[np.arange(n), rng.integers(0, channels, n)] = True
    return chosen
