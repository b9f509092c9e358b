"""Group consecutive windows of one line that share source, tier and label into blocks, and encode them. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.contract import NS_PER_S

UNLABELLED = -1
# Maximum number of windows in a block. A late label rewrites the whole block, and a damaged byte loses the whole block.
# 512 windows of 32 x 6 values are 0.1 MB when compressed; above a few hundred windows, compression does not improve.
MAX_BLOCK_WINDOWS = 512
# Period in which all windows of a block start: the same minute, so that a search by time need not look further back.
MAX_BLOCK_NS = 60 * NS_PER_S
# The fastest level of zlib: higher levels take several times as long and gain little on noise.
ZLIB_LEVEL = 1


class Arrival(NamedTuple):
    """Windows of one line that were added together.

    Attributes:
        start_ns: Unix time of the first samples, (n,).
        sequence: sequence numbers, (n,).
        windows: float32 (n, samples, channels), per unit.
        label: class index of each window, −1 for none, (n,).
        operator_ns: time of the operator's label, Unix ns, 0 for none, (n,).
        tier: tier of all windows.
        source: source of all windows.
        added_ns: Unix time of their arrival.
    """

    start_ns: NDArray[np.int64]
    sequence: NDArray[np.int64]
    windows: NDArray[np.float32]
    label: NDArray[np.int16]
    operator_ns: NDArray[np.int64]
    tier: int
    source: str
    added_ns: int

    def take(self, index: NDArray[np.intp]) -> Arrival:
        """Return the windows at ``index``."""
        return self._replace(**{name: getattr(self, name)[index] for name in self._fields[:5]})

    def ids(self) -> Iterator[tuple[int, int]]:
        """Return start time and sequence number of every window, which are equal for a window delivered twice."""
        return zip(self.start_ns.tolist(), self.sequence.tolist(), strict=True)


@dataclass(frozen=True)
class Block:
    """Windows of one line in order of time, all with the same source, tier and label.

    Attributes:
        source: source of the windows.
        tier: tier of the windows.
        label: class index of the windows, −1 for none.
        operator_ns: time of the operator's label, Unix ns, 0 for none.
        added_ns: Unix time at which the newest window arrived.
        start_ns: Unix time of the first samples, (n,).
        sequence: sequence numbers, (n,).
        windows: float32 (n, samples, channels), per unit.
    """

    source: str
    tier: int
    label: int
    operator_ns: int
    added_ns: int
    start_ns: NDArray[np.int64] = field(compare=False)
    sequence: NDArray[np.int64] = field(compare=False)
    windows: NDArray[np.float32] = field(compare=False)

    def __len__(self) -> int:
        return len(self.start_ns)

    def take(self, index: NDArray[np.bool_] | slice) -> Self:
        """Return the windows at ``index``."""
        arrays = {name: getattr(self, name)[index] for name in ("start_ns", "sequence", "windows")}
        return replace(self, **arrays)


class Columns:
    """Windows of one line in order of time as columns of length n, whose labels may still change."""

    def __init__(self, arrivals: Sequence[Arrival]) -> None:
        sizes = [len(arrival.start_ns) for arrival in arrivals]
        self.sources = list(dict.fromkeys(arrival.source for arrival in arrivals))
        self.start_ns, self.sequence, self.windows, self.label, self.operator_ns = (
            np.concatenate([arrival[k] for arrival in arrivals]) for k in range(5)
        )
        self.tier = np.repeat([arrival.tier for arrival in arrivals], sizes)
        self.source = np.repeat([self.sources.index(arrival.source) for arrival in arrivals], sizes)
        self.added_ns = np.repeat([arrival.added_ns for arrival in arrivals], sizes)
        if (np.diff(self.start_ns) < 0).any():
            order = np.argsort(self.start_ns, kind="stable")
            for name, column in vars(self).items():
                if name != "sources":
                    setattr(self, name, column[order])

    def blocks(self) -> Iterator[Block]:
        """Yield the windows as blocks; a block ends where windows are not consecutive or differ in a shared value."""
        same = (self.label, self.operator_ns, self.tier, self.source, self.start_ns // MAX_BLOCK_NS)
        cut = np.diff(self.sequence) != 1
        for column in same:
            cut |= column[1:] != column[:-1]
        cut[MAX_BLOCK_WINDOWS - 1 :: MAX_BLOCK_WINDOWS] = True
        edges = [0, *(np.flatnonzero(cut) + 1).tolist(), len(self.start_ns)]
        for a, b in pairwise(edges):
            yield Block(
                source=self.sources[self.source[a]],
                tier=int(self.tier[a]),
                label=int(self.label[a]),
                operator_ns=int(self.operator_ns[a]),
                added_ns=int(self.added_ns[a:b].max()),
                start_ns=self.start_ns[a:b],
                sequence=self.sequence[a:b],
                windows=self.windows[a:b],
            )


def encode(block: Block, spec: SignalSpec) -> bytes:
    """Return times, sequence numbers and samples of a block, compressed.

    If the windows overlap bit for bit, every sample is stored once. Values are ordered by channel, and their bytes by
    significance, with the least significant bytes of all values first: samples next to each other in time differ least
    in their most significant bytes, so these compress well.
    """
    step, windows = min(spec.hop, spec.samples), np.ascontiguousarray(block.windows, "<f4")
    bits = windows.view(np.uint32)
    wave = windows.reshape(-1, windows.shape[2])
    if np.array_equal(bits[1:, : spec.samples - step], bits[:-1, step:]):
        wave = np.concatenate([windows[0], windows[1:, spec.samples - step :].reshape(-1, windows.shape[2])])
    planes = np.ascontiguousarray(wave.T).reshape(-1, 1).view(np.uint8).T
    steps = np.stack([np.diff(block.start_ns, prepend=0), np.diff(block.sequence, prepend=0)]).astype("<i8")
    return zlib.compress(steps.tobytes() + planes.tobytes(), ZLIB_LEVEL)


def decode_times(data: bytes, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return start times and sequence numbers (count,) of a block; only the beginning of ``data`` is decompressed.

    Raises:
        ValueError: if the bytes are damaged.
    """
    try:
        return _times(zlib.decompressobj().decompress(data, 16 * count), count)
    except zlib.error as error:
        raise ValueError(str(error)) from error


def decode(
    data: bytes, count: int, spec: SignalSpec
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return start times and sequence numbers (count,) and windows float32 (count, samples, channels) of a block.

    Raises:
        ValueError: if the checksum shows that the bytes are damaged.
    """
    try:
        raw = zlib.decompress(data)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    channels = len(spec.channels)
    planes = np.frombuffer(raw, np.uint8, offset=16 * count).reshape(4, -1)
    wave = np.ascontiguousarray(np.ascontiguousarray(planes.T).view("<f4").reshape(channels, -1).T)
    if len(wave) == count * spec.samples:
        return *_times(raw, count), wave.reshape(count, *spec.window_shape)
    view = np.lib.stride_tricks.sliding_window_view(wave, spec.samples, axis=0)[:: spec.hop]
    return *_times(raw, count), view.transpose(0, 2, 1)


def _times(raw: bytes, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    steps = np.frombuffer(raw, "<i8", 2 * count).reshape(2, count).cumsum(axis=1)
    return steps[0], steps[1]
