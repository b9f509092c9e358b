"""Read the logical layer of PQDIF: definitions, settings and observations of channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.pqdif import tags
from domains.powerline.waveforms.formats.pqdif.captures import (
    Capture,
    ChannelDefinition,
    SeriesDefinition,
    StoredSeries,
)
from domains.powerline.waveforms.formats.pqdif.records import LAST_DAY, STAMP, UNIX_DAY, Body, Collection
from domains.powerline.waveforms.formats.segments import SampleClock, find_segments
from domains.powerline.waveforms.record import Finding, ReadOptions, Segment
from stream.contract import NS_PER_S

ASSUMED_HZ = 50.0
"""Nominal frequency by which times in cycles become seconds if the file states none."""
EVEN_STEPS = 0.05
"""Largest deviation of explicit times from even ones, in steps, for which one rate is used."""
IRREGULAR_STEPS = 0.2
"""Largest difference of mean and usual step, in steps, for which irregular times have a usable rate."""
MAX_SHARED = 8
"""Largest number of series of which each shares the values of the next."""
MAX_RUNS = 10_000
"""Largest number of sampling rates of one series."""


@dataclass(frozen=True, slots=True)
class DataSource:
    """Instrument, with the definitions of its channels."""

    name: bytes
    location: bytes
    channels: tuple[ChannelDefinition, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the instrument: nominal frequency, and ratios by the index of the channel.

    Attributes:
        frequency_hz: nominal frequency; None if it is not stated.
        ratios: primary and secondary rating of the channel's transformer.
        use_ratios: True if the stored values are secondary ones.
        calibrated: indices of channels with a calibration that is not yet applied to the values.
    """

    frequency_hz: float | None = None
    ratios: dict[int, tuple[float, float]] = field(default_factory=dict)
    use_ratios: bool = False
    calibrated: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Clock:
    """Times of the samples of a series.

    Attributes:
        segments: segments of one rate each; the first sample has number 0 and time 0.
        first_s: time of the first sample in seconds after the start of the observation.
        absolute_ns: Unix time of the first sample, if the times are absolute.
        irregular: True if the times are so irregular that only their mean rate is used.
    """

    segments: tuple[Segment, ...]
    first_s: float
    absolute_ns: int | None = None
    irregular: bool = False


def read_data_source(body: Body) -> DataSource:
    """Read a data source record."""
    root = body.root
    name, location = root.text(tags.SOURCE_NAME), root.text(tags.SOURCE_LOCATION)
    definitions = root.collection(tags.CHANNEL_DEFINITIONS)
    channels: list[ChannelDefinition] = []
    alike: Counter[ChannelDefinition] = Counter()
    for one in definitions.collections(tags.ONE_CHANNEL_DEFINITION) if definitions is not None else ():
        series = one.collection(tags.SERIES_DEFINITIONS)
        defined = ChannelDefinition(
            name=one.text(tags.CHANNEL_NAME) or one.text(tags.OTHER_CHANNEL_NAME),
            group=one.texts(tags.GROUP_NAME),
            source=name,
            phase=one.whole(tags.PHASE) or 0,
            quantity=one.whole(tags.QUANTITY_MEASURED) or 0,
            quantity_type=one.guid(tags.QUANTITY_TYPE),
            series=tuple(map(_series_definition, series.collections(tags.ONE_SERIES_DEFINITION)) if series else ()),
        )
        alike[defined] += 1
        channels.append(replace(defined, copy=alike[defined] - 1))
    return DataSource(name, location, tuple(channels))


def _series_definition(one: Collection) -> SeriesDefinition:
    return SeriesDefinition(
        value_type=one.guid(tags.VALUE_TYPE),
        unit=one.whole(tags.UNITS) or 0,
        method=one.whole(tags.STORAGE_METHOD) or 0,
        characteristic=one.guid(tags.CHARACTERISTIC),
        resolution=one.number(tags.RESOLUTION) or 0.0,
    )


def read_settings(body: Body) -> Settings:
    """Read a monitor settings record."""
    root = body.root
    ratios: dict[int, tuple[float, float]] = {}
    calibrated = set()
    use_calibration = bool(root.whole(tags.USE_CALIBRATION))
    channels = root.collection(tags.CHANNEL_SETTINGS)
    for one in channels.collections(tags.ONE_CHANNEL_SETTING) if channels is not None else ():
        index = one.whole(tags.CHANNEL_INDEX)
        if index is None:
            continue
        system, monitor = one.number(tags.SYSTEM_SIDE), one.number(tags.MONITOR_SIDE)
        if system is not None and monitor is not None and system > 0 and monitor > 0:
            ratios[index] = (system, monitor)
        offset, ratio = one.number(tags.CALIBRATION_OFFSET) or 0.0, one.number(tags.CALIBRATION_RATIO)
        if use_calibration and (offset != 0.0 or ratio not in (None, 0.0, 1.0)):
            calibrated.add(index)
    return Settings(
        root.number(tags.NOMINAL_FREQUENCY), ratios, bool(root.whole(tags.USE_TRANSDUCER)), frozenset(calibrated)
    )


class Observation:
    """Observation record, of which the waveforms are read.

    Args:
        body: its body.
        source: the data source that applies to it.
        settings: the settings that apply to it.
        options: options of the reader.

    Attributes:
        failures: channel and error of every waveform that cannot be read.
        findings: peculiarities of its series.
        skipped: definitions of channels that are no waveforms.
    """

    def __init__(self, body: Body, source: DataSource, settings: Settings, options: ReadOptions) -> None:
        self._root = body.root
        self._source = source
        self._settings = settings
        self._options = options
        self._clocks: dict[tuple[int, int, SeriesDefinition, float, float], Clock] = {}
        # Series that do not overlap hold no more numbers than the body has bytes.
        self._values_left = self._times_left = len(body.content)
        self.failures: list[tuple[ChannelDefinition, RecordError]] = []
        self.findings: list[Finding] = []
        self.skipped: set[ChannelDefinition] = set()

    def captures(self) -> list[Capture]:
        """Return the waveforms; channels that were sampled at the same times are together."""
        root = self._root
        instances = root.collection(tags.CHANNEL_INSTANCES)
        if instances is None:
            return []
        found: list[Capture] = []
        indices: list[int | None] = []
        for instance in instances.collections(tags.ONE_CHANNEL_INSTANCE):
            index = instance.whole(tags.CHANNEL_INDEX)
            indices.append(index)
            if index is None or not 0 <= index < len(self._source.channels):
                continue
            definition = self._source.channels[index]
            if definition.value is None:
                self.skipped.add(definition)
                continue
            try:
                series = self._values(instances, instance, index, definition)
                clock = self._clock(instances, instance, definition, len(series.values))
            except RecordError as error:
                self.failures.append((definition, error.with_traceback(None)))
                continue
            self._add(found, definition, series, clock)
        for capture in found:
            capture.statements = self._statements(indices)
        return found

    def _add(self, found: list[Capture], definition: ChannelDefinition, series: StoredSeries, clock: Clock) -> None:
        """Add a waveform to a capture of the same times, or as a new one."""
        root = self._root
        start_ns = clock.absolute_ns
        if start_ns is None:
            begin_ns = root.moment_ns(tags.TIME_START)
            start_ns = None if begin_ns is None else max(begin_ns + round(clock.first_s * NS_PER_S), 0)
        for capture in found[-8:]:
            same = (capture.segments, capture.start_ns) == (clock.segments, start_ns)
            if same and definition not in capture.channels:
                capture.channels[definition] = series
                return
        name, triggered_ns = root.text(tags.OBSERVATION_NAME), root.moment_ns(tags.TIME_TRIGGERED)
        frequency = self._settings.frequency_hz
        found.append(Capture(start_ns, clock.segments, {definition: series}, name, triggered_ns, frequency, []))

    def _series(self, instances: Collection, instance: Collection, index: int) -> tuple[Collection, Collection] | None:
        """Return a series, and the one that holds its values: another one if it is shared."""
        series = holder = _one_series(instance, index)
        for _ in range(MAX_SHARED):
            if holder is None or series is None:
                return None
            channel, number = holder.whole(tags.SHARED_CHANNEL), holder.whole(tags.SHARED_SERIES)
            if channel is None or number is None:
                return series, holder
            other = instances.collection(tags.ONE_CHANNEL_INSTANCE, channel)
            holder = None if other is None else _one_series(other, number)
        raise self._root.body.error(0, "its series refer to each other in a circle")

    def _stored(
        self, instances: Collection, instance: Collection, index: int, defined: SeriesDefinition
    ) -> tuple[NDArray[Any], int, float, float] | None:
        """Return the numbers of a series, their position, scale and offset; None if there are none."""
        found = self._series(instances, instance, index)
        if found is None:
            return None
        series, holder = found
        vector = holder.vector(tags.SERIES_VALUES)
        if vector is None or len(vector[0]) == 0:
            return None
        values, position = vector
        scale, offset = (
            holder.number(tag) if (own := series.number(tag)) is None else own
            for tag in (tags.SERIES_SCALE, tags.SERIES_OFFSET)
        )
        scale, offset = 1.0 if scale is None else scale, offset or 0.0
        if defined.method & tags.SCALED:
            return values, position, scale, offset
        if values.dtype.kind in "iu" and scale not in (0.0, 1.0):
            message = "the definition does not say so, but the whole numbers have a scale: it is applied"
            self.findings.append(Finding("note", "scale-not-declared", message))
            return values, position, scale, offset
        return values, position, 1.0, offset if defined.method & tags.INCREMENT else 0.0

    def _values(
        self, instances: Collection, instance: Collection, number: int, definition: ChannelDefinition
    ) -> StoredSeries:
        index = definition.value
        assert index is not None
        defined = definition.series[index]
        stored = self._stored(instances, instance, index, defined)
        if stored is None:
            raise self._root.body.error(0, "it has no values")
        values, position, scale, offset = stored
        if values.dtype == STAMP or defined.method & tags.INCREMENT:
            raise self._root.body.error(position, "its values are not those of a waveform")
        self._values_left -= len(values)
        if self._values_left < 0:
            raise self._root.body.error(position, "the series of the record overlap: the file is damaged")
        step = abs(scale) if values.dtype.kind in "iu" else defined.resolution
        primary, secondary = self._settings.ratios.get(number, (1.0, 1.0))
        if self._settings.use_ratios:
            ratio = primary / secondary
            scale, offset, step = scale * ratio, offset * ratio, step * ratio
        if number in self._settings.calibrated:
            message = "the file asks for a calibration of the values, which is not applied: export calibrated values"
            self.findings.append(Finding("warning", "calibration", message))
        return StoredSeries(values, scale, offset, primary, secondary, step)

    def _clock(self, instances: Collection, instance: Collection, definition: ChannelDefinition, rows: int) -> Clock:
        index = definition.time
        stored = None if index is None else self._stored(instances, instance, index, definition.series[index])
        if index is None or stored is None:
            if self._options.rate_hz is None:
                raise self._root.body.error(0, "it has no times: set the sampling rate with --rate")
            return Clock((Segment(0, rows, self._options.rate_hz, 0.0),), 0.0)
        numbers, position, scale, offset = stored
        key = (position, rows, definition.series[index], scale, offset)
        if key not in self._clocks:
            self._clocks[key] = self._derived(*key, numbers)
        return self._clocks[key]

    def _derived(
        self, position: int, rows: int, defined: SeriesDefinition, scale: float, offset: float, stored: NDArray[Any]
    ) -> Clock:
        """Derive the times from a stored series."""
        body = self._root.body
        self._times_left -= len(stored)
        if self._times_left < 0:
            raise body.error(position, "the series of the record overlap: the file is damaged")
        if stored.dtype == STAMP:
            clock = _absolute(stored)
        else:
            unit_s = 1 / self._cycles_hz() if defined.unit == tags.UNIT_CYCLES else 1.0
            scale, offset = scale * unit_s, offset * unit_s
            if defined.method & tags.INCREMENT:
                clock = _of_increments(stored, scale, offset, rows)
            else:
                with np.errstate(over="ignore", invalid="ignore"):
                    times = np.multiply(stored[:rows], scale, dtype=np.float64) + offset
                clock = _of_times(times, _resolution(stored, scale))
        if self._options.rate_hz is not None:
            first_s, absolute_ns = (0.0, None) if clock is None else (clock.first_s, clock.absolute_ns)
            return Clock((Segment(0, rows, self._options.rate_hz, 0.0),), first_s, absolute_ns)
        if clock is None:
            raise body.error(position, "its times are unusable: set the sampling rate with --rate")
        if clock.irregular:
            message = f"the times are irregular: their mean rate of {clock.segments[0].rate_hz:.6g} Hz is used"
            self.findings.append(Finding("warning", "times-irregular", message))
        last = clock.segments[-1]
        if last.stop != rows:
            message = f"there are times for {last.stop} samples, but {rows} samples: the last sampling rate continues"
            self.findings.append(Finding("note", "times-incomplete", message))
        return replace(clock, segments=(*clock.segments[:-1], replace(last, stop=rows)))

    def _cycles_hz(self) -> float:
        frequency = self._settings.frequency_hz
        if frequency is not None and frequency > 0:
            return frequency
        if self._options.frequency_hz is not None:
            return self._options.frequency_hz
        message = (
            f"the times are in cycles and the file states no frequency: {ASSUMED_HZ:g} Hz is assumed "
            "(--frequency sets another)"
        )
        self.findings.append(Finding("warning", "cycles", message))
        return ASSUMED_HZ

    def _statements(self, indices: Sequence[int | None]) -> list[tuple[str, bytes]]:
        """Return what the observation says of the event."""
        root, said = self._root, list[tuple[str, bytes]]()
        if disturbance := tags.DISTURBANCE_NAMES.get(root.guid(tags.DISTURBANCE)):
            said.append(("disturbance", disturbance.encode()))
        if (duration := root.number(tags.DISTURBANCE_DURATION)) is not None and duration > 0:
            said.append(("duration", f"{duration:.6g} s".encode()))
        if method := tags.TRIGGER_METHODS.get(root.whole(tags.TRIGGER_METHOD) or 0):
            said.append(("trigger", method.encode()))
        chosen = root.vector(tags.TRIGGER_CHANNELS)
        for number in [] if chosen is None else chosen[0][:8].tolist():
            index = indices[number] if isinstance(number, int) and 0 <= number < len(indices) else None
            if index is not None and 0 <= index < len(self._source.channels):
                said.append(("triggered by", self._source.channels[index].name))
        return said


def _one_series(instance: Collection, index: int) -> Collection | None:
    series = instance.collection(tags.SERIES_INSTANCES)
    return None if series is None else series.collection(tags.ONE_SERIES_INSTANCE, index)


def _absolute(stored: NDArray[Any]) -> Clock | None:
    """Derive a clock from absolute times."""
    days, seconds = stored["day"].astype(np.int64), stored["seconds"]
    plausible = (days >= UNIX_DAY) & (days <= LAST_DAY) & (seconds >= 0) & (seconds < 1e6)
    if not plausible.all():
        return None
    clock = _of_times((days - days[0]) * 86_400.0 + (seconds - seconds[0]))
    first_ns = (int(days[0]) - UNIX_DAY) * 86_400 * NS_PER_S + round(float(seconds[0]) * NS_PER_S)
    return None if clock is None else replace(clock, absolute_ns=first_ns)


def _of_increments(stored: NDArray[Any], scale: float, offset: float, rows: int) -> Clock | None:
    """Derive a clock from the number of rates, then a number of samples and a step for each."""
    numbers = stored[: 1 + 2 * MAX_RUNS].astype(np.float64)
    if not np.isfinite(numbers).all() or not 1 <= numbers[0] <= MAX_RUNS:
        return None
    runs = numbers[1 : 1 + 2 * int(numbers[0])]
    segments: list[Segment] = []
    first = 0
    for count, step in zip(runs[::2].tolist(), (runs[1::2] * scale).tolist(), strict=False):
        stop = min(first + max(int(count), 0), rows)
        if stop == first:
            continue
        if not step > 0 or not 1e-12 < step < 1e6:
            return None
        rate = 1 / step
        if segments and segments[-1].rate_hz == rate:
            segments[-1] = replace(segments[-1], stop=stop)
        else:
            before = segments[-1] if segments else None
            start_s = 0.0 if before is None else before.next_s - 1 / before.rate_hz + step
            segments.append(Segment(first, stop, rate, start_s))
        first = stop
    return Clock(tuple(segments), offset) if segments and abs(offset) < 1e9 else None


def _resolution(stored: NDArray[Any], scale: float) -> float:
    """Return the smallest difference of two stored times in seconds; 0 for real numbers of eight bytes."""
    if stored.dtype.kind in "iu":
        return abs(scale)
    return float(np.spacing(np.abs(stored).max())) * abs(scale) if stored.dtype.itemsize == 4 else 0.0


def _of_times(times: NDArray[np.float64], resolution_s: float = 0.0) -> Clock | None:
    """Derive a clock from the time of every sample in seconds.

    Times are even if none deviates from one rate by more than their resolution and a small part of a step.
    """
    count = len(times)
    if count < 2 or not np.isfinite(times).all() or np.abs(times).max() > 1e9:
        return None
    first_s = float(times[0])
    since = times - first_s
    step = float(since[-1]) / (count - 1)
    tolerated = max(EVEN_STEPS * step, resolution_s)
    if 1e-12 < step < 1e6 and np.abs(since - step * np.arange(count)).max() <= tolerated:
        return Clock((Segment(0, count, 1 / step, 0.0),), first_s)
    stamps = np.round(since * 1e9).astype(np.int64)
    segments, _ = find_segments(SampleClock(count, [(0.0, count)], None, stamps, 1e-9))
    covered = bool(segments) and segments[0].first == 0 and all(a.stop == b.first for a, b in pairwise(segments))
    if covered and all(segment.rate_hz < 1e12 for segment in segments):
        return Clock(segments, first_s)
    # The times are irregular, but no gap is as long as to make the mean step differ from the usual one.
    usual = float(np.median(np.diff(times)))
    if 1e-12 < step < 1e6 and abs(usual - step) <= IRREGULAR_STEPS * step:
        return Clock((Segment(0, count, 1 / step, 0.0),), first_s, irregular=True)
    return None
