"""Choose the windows that drift detection measures: a few of every line and bucket, however many are sent. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.contract import NS_PER_S
from stream.detection.decode import DecodedBatch, LineWindows

# Number of records sampled per line and bucket, and of windows per record. Medians of this many windows are stable, and
# more windows would only cost time.
RECORDS_OF_BUCKET = 4
WINDOWS_OF_RECORD = 24
# A network with a memory classifies a stretch of consecutive windows; one stretch per bucket, with the windows that
# warm its memory up, costs about as much as four records.
STRETCHES_OF_BUCKET = 1
WARM_UP_WINDOWS = 32
# Number of lines beyond which all are forgotten; each line is then sampled once more.
MAX_LINES = 100_000


@dataclass(eq=False, slots=True)
class Stretch:
    """Consecutive windows of one line, for a network with a memory.

    Attributes:
        memory: the network's memory after the last window, float32 (units,).
        warm_up: number of windows that are still classified without being measured.
        left: number of windows that are still measured after them.
    """

    memory: NDArray[np.float32]
    warm_up: int
    left: int = WINDOWS_OF_RECORD


@dataclass(slots=True)
class Sample:
    """Windows of one record: those to classify, of which the first are not measured.

    Attributes:
        line: id of the line.
        rows: rows of the windows in the batch, (k,).
        start_ns: Unix time of the windows, (k,).
        unmeasured: number of windows at the beginning that only warm the memory up.
        stretch: the stretch that the windows continue; None for a network without a memory.
    """

    line: str
    rows: NDArray[np.int64]
    start_ns: NDArray[np.int64]
    unmeasured: int = 0
    stretch: Stretch | None = None


@dataclass(slots=True)
class _Line:
    sampled_ns: int | None = None
    sequence: int = -1
    """Sequence number of the window that follows the line's last one; -1 if no window was seen."""
    next_ns: int = 0
    stretch: Stretch | None = field(default=None)


class Sampler:
    """Sampler for one model.

    Without a memory, a few records per line and bucket are sampled, and windows that are spread evenly over a record.
    With a memory, one stretch of consecutive windows per line and bucket is. Where a line goes on, a worker's memory of
    it is warm, so the first windows of a stretch are not measured; after a gap, a worker's memory is cold as well.

    Args:
        spec: spec of the windows.
        bucket_s: length of a bucket, seconds of stream time.
        memory_units: size of the model's memory; 0 without a memory or a model.
    """

    def __init__(self, spec: SignalSpec, bucket_s: float, memory_units: int = 0) -> None:
        self._spec, self._units = spec, memory_units
        samples = STRETCHES_OF_BUCKET if memory_units else RECORDS_OF_BUCKET
        self._interval_ns = round(bucket_s * NS_PER_S / samples)
        self._lines: dict[str, _Line] = {}

    def samples(self, batch: DecodedBatch) -> Iterator[Sample]:
        """Yield the samples of a batch in its order."""
        for entry in batch.records:
            line = self._lines.get(entry.line)
            if line is None:
                if len(self._lines) >= MAX_LINES:
                    self._lines.clear()
                line = self._lines[entry.line] = _Line()
            sample = self._of_stretch(line, entry) if self._units else self._of_record(line, entry)
            if sample is not None:
                yield sample

    def _due(self, line: _Line, entry: LineWindows) -> bool:
        """Return True, and note the time, if the line has not been sampled within the interval."""
        if line.sampled_ns is not None and 0 <= entry.start_ns - line.sampled_ns < self._interval_ns:
            return False
        line.sampled_ns = entry.start_ns
        return True

    def _of_record(self, line: _Line, entry: LineWindows) -> Sample | None:
        if not self._due(line, entry):
            return None
        within = np.unique(np.linspace(0, entry.count - 1, min(entry.count, WINDOWS_OF_RECORD)).astype(np.int64))
        return self._sample(entry, within)

    def _of_stretch(self, line: _Line, entry: LineWindows) -> Sample | None:
        hop_ns = self._spec.hop * NS_PER_S / entry.rate_hz
        follows = entry.sequence == line.sequence and abs(entry.start_ns - line.next_ns) <= hop_ns
        begun = line.sequence < 0  # by the trainer: the worker may have seen the line before
        line.sequence, line.next_ns = entry.sequence + entry.count, entry.start_ns + round(entry.count * hop_ns)
        if line.stretch is None or not follows:
            line.stretch = None
            if not self._due(line, entry):
                return None
            warm_up = WARM_UP_WINDOWS if follows or begun else 0
            line.stretch = Stretch(np.zeros(self._units, np.float32), warm_up)
        stretch = line.stretch
        sample = self._sample(entry, np.arange(min(entry.count, stretch.warm_up + stretch.left)))
        sample.stretch, sample.unmeasured = stretch, min(stretch.warm_up, len(sample.rows))
        stretch.warm_up -= sample.unmeasured
        stretch.left -= len(sample.rows) - sample.unmeasured
        if not stretch.left:
            line.stretch = None
        return sample

    def _sample(self, entry: LineWindows, within: NDArray[np.int64]) -> Sample:
        hop_ns = self._spec.hop * NS_PER_S / entry.rate_hz
        return Sample(entry.line, entry.first + within, entry.start_ns + np.round(within * hop_ns).astype(np.int64))
