"""Cut samples of a line into windows and encode them as messages; ``stream.detection.decode`` is the inverse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.contract import HEADER_CONTENT_TYPE, HEADER_ORIGIN, MSGPACK, NS_PER_S, SIMULATED

Headers = list[tuple[str, bytes]]
MSGPACK_HEADERS: Headers = [(HEADER_CONTENT_TYPE, MSGPACK.encode())]
"""Headers of the records that ``window_messages`` builds."""
SIMULATED_HEADERS: Headers = [*MSGPACK_HEADERS, (HEADER_ORIGIN, SIMULATED)]
"""The same headers for windows of a simulator, which no retraining may treat as windows of production."""


@dataclass(frozen=True, slots=True)
class OutgoingWindows:
    """One message to send: key (line id), value, number of windows, and the time of its last sample's end (Unix ns)."""

    line: str
    value: bytes
    count: int
    end_ns: int


def cut_windows(samples: NDArray[np.float32], spec: SignalSpec) -> NDArray[np.float32]:
    """Cut waveforms into overlapping windows.

    Args:
        samples: float32 (…, T, channels), per unit: one waveform, or several of equal length.
        spec: spec of the windows, for the samples per window and the hop.

    Returns:
        A read-only view, float32 (…, n, samples, channels), n = max(0, (T − samples) // hop + 1).
    """
    *records, length, channels = samples.shape
    if length < spec.samples:
        return np.empty((*records, 0, spec.samples, channels), np.float32)
    view = np.lib.stride_tricks.sliding_window_view(samples, spec.samples, axis=-2)[..., :: spec.hop, :, :]
    return view.swapaxes(-1, -2)


def encode_windows(
    windows: NDArray[np.float32],
    spec: SignalSpec,
    *,
    sequence: int,
    start_ns: int,
    rate_hz: float,
    labels: Sequence[int] | None = None,
) -> bytes:
    """Return a MessagePack value of ``sensor-windows`` for windows float32 (n, samples, channels)."""
    body: dict[str, object] = {
        "spec": spec.name,
        "sequence": sequence,
        "start_ns": start_ns,
        "rate_hz": rate_hz,
        "count": len(windows),
        "data": np.ascontiguousarray(windows, "<f4").tobytes(),
    }
    if labels is not None:
        body["labels"] = [int(label) for label in labels]
    return msgspec.msgpack.encode(body)


def window_messages(
    line: str,
    samples: NDArray[np.float32],
    spec: SignalSpec,
    *,
    rate_hz: float,
    start_ns: int,
    windows_per_message: int = 4,
    labels: NDArray[np.integer] | None = None,
    first_sequence: int = 0,
) -> Iterator[OutgoingWindows]:
    """Yield the messages of one line's waveform in time order, as a gateway would send them.

    Args:
        line: id of the line, the record's key.
        samples: float32 (T, channels), per unit.
        spec: signal spec of the windows.
        rate_hz: samples per second.
        start_ns: Unix time of the first sample.
        windows_per_message: windows grouped by the gateway.
        labels: class index of every sample (T,); a window's label is that of its last sample.
        first_sequence: number of the first window.
    """
    windows = cut_windows(samples, spec)
    last_sample = np.arange(len(windows)) * spec.hop + spec.samples - 1
    for first in range(0, len(windows), windows_per_message):
        block = windows[first : first + windows_per_message]
        ends = last_sample[first : first + len(block)]
        yield OutgoingWindows(
            line=line,
            value=encode_windows(
                block,
                spec,
                sequence=first_sequence + first,
                start_ns=start_ns + round(first * spec.hop * NS_PER_S / rate_hz),
                rate_hz=rate_hz,
                labels=None if labels is None else labels[ends].tolist(),
            ),
            count=len(block),
            end_ns=start_ns + round((int(ends[-1]) + 1) * NS_PER_S / rate_hz),
        )
