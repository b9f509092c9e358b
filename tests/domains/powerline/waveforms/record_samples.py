"""Records written by the tests: COMTRADE in every form that the standard allows, and some that it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LATIN = ("IA", "IB", "IC", "VA", "VB", "VC")
STORED = {"BINARY": "<i2", "BINARY32": "<i4", "FLOAT32": "<f4"}
RATED_AMPERE, RATED_VOLT = 400.0, 110_000.0
PEAK = np.array([RATED_AMPERE * np.sqrt(2)] * 3 + [RATED_VOLT * np.sqrt(2 / 3)] * 3)


@dataclass(frozen=True)
class Shape:
    """Form of a record: ``segments`` holds the rate and length of each segment, ``gaps_s`` the pause before each."""

    revision: str = "1999"
    data_format: str = "BINARY"
    container: str = "pair"
    encoding: str = "utf-8"
    segments: tuple[tuple[float, int], ...] = ((4800.0, 960),)
    gaps_s: tuple[float, ...] = ()
    rates: str = "header"
    """Place of the rates: in the header, "none" (number of rates 0) or "zero" (one rate of 0)."""
    frequency_hz: float = 50.0
    header_hz: float = 50.0
    names: Sequence[str] = LATIN
    phases: Sequence[str] = ("A", "B", "C") * 2
    circuits: Sequence[str] = ("",) * 6
    units: Sequence[str] = ("A", "A", "A", "V", "V", "V")
    side: str = "P"
    ratings: tuple[tuple[float, float], tuple[float, float]] = ((RATED_AMPERE, 1.0), (RATED_VOLT, 100.0))
    start: tuple[str, str] = ("02/01/2024", "03:04:05.000001")
    time_code: str = "0,0"
    station: str = "STATION"
    status: int = 3
    skew_us: tuple[float, ...] = (0.0,) * 6
    line_end: str = "\r\n"

    def times(self) -> NDArray[np.float64]:
        """Return the time of every sample in seconds after the first."""
        parts: list[NDArray[np.float64]] = []
        next_s = 0.0
        for number, (rate, count) in enumerate(self.segments):
            next_s += self.gaps_s[number] if self.gaps_s else 0.0
            if parts:
                next_s += 1 / rate
            parts.append(next_s + np.arange(count) / rate)
            next_s = float(parts[-1][-1])
        return np.concatenate(parts)


def load_waves(
    shape: Shape, times: NDArray[np.float64] | None = None, fault_s: float | None = None
) -> NDArray[np.float64]:
    """Return a healthy line in A and V (primary), float64 (t, 6); a B-phase-to-ground fault starts at ``fault_s``."""
    t = shape.times() if times is None else times
    turns = 2 * np.pi * shape.frequency_hz * t[:, None] - 2 * np.pi * np.arange(3) / 3
    waves = np.concatenate([0.5 * np.cos(turns - 0.3), np.cos(turns)], axis=1)
    if fault_s is not None:
        faulty = t >= fault_s
        waves[faulty, 1] = 8 * np.cos(turns[faulty, 1] - 1.4)
        waves[faulty, 4] *= 0.3
    return np.asarray(waves * PEAK)


@dataclass(frozen=True)
class Written:
    """Path of a record, and the values that its file really holds (rounded as its format does), (t, channels)."""

    path: Path
    values: NDArray[np.float64]
    shape: Shape
    parts: dict[str, bytes] = field(default_factory=dict)


def write_record(folder: Path, shape: Shape, samples: NDArray[np.float64], stem: str = "record") -> Written:
    """Write samples (t, channels), in the units of ``shape``, as a COMTRADE record."""
    gains, offsets, stored = _stored(shape, samples)
    header = _header(shape, gains, offsets).encode(shape.encoding)
    stamps = _stamps(shape)
    data = _ascii(shape, stored, stamps) if shape.data_format == "ASCII" else _binary(shape, stored, stamps)
    folder.mkdir(parents=True, exist_ok=True)
    if shape.container == "cff":
        path = folder / f"{stem}.cff"
        size = "" if shape.data_format == "ASCII" else f": {len(data)}"
        end = shape.line_end.encode()
        parts = [b"--- file type: CFG ---", header.rstrip(), b"--- file type: INF ---", b"--- file type: HDR ---"]
        parts.append(f"--- file type: DAT {shape.data_format}{size} ---".encode())
        path.write_bytes(end.join(parts) + end + data)
    else:
        upper = shape.container == "upper"
        path = folder / (f"{stem}.CFG" if upper else f"{stem}.cfg")
        path.write_bytes(header)
        path.with_suffix(".DAT" if upper else ".dat").write_bytes(data)
    return Written(path, stored * gains + offsets, shape, {"header": header, "data": data})


def _stored(
    shape: Shape, samples: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return multiplier and offset per channel, and the numbers as they are stored."""
    if shape.data_format == "FLOAT32":
        one = np.ones(samples.shape[1])
        return one, 0 * one, samples.astype(np.float32).astype(np.float64)
    top = {"BINARY32": 2.0e9, "BINARY": 32_000.0, "ASCII": 90_000.0}[shape.data_format]
    gains = np.array([float(f"{value:.9g}") for value in np.maximum(np.abs(samples).max(axis=0), 1e-9) / top])
    offsets = np.array([float(f"{value:.9g}") for value in 0.01 * gains])
    return gains, offsets, np.round((samples - offsets) / gains)


def _header(shape: Shape, gains: NDArray[np.float64], offsets: NDArray[np.float64]) -> str:
    first = [shape.station, "DEVICE"] + ([shape.revision] if shape.revision != "1991" else [])
    count = len(gains)
    lines = [",".join(first), f"{count + shape.status},{count}A,{shape.status}D"]
    for k in range(count):
        rating = shape.ratings[0 if k % 6 < 3 else 1]
        fields = [k + 1, shape.names[k], shape.phases[k], shape.circuits[k], shape.units[k], repr(float(gains[k]))]
        fields += [repr(float(offsets[k])), shape.skew_us[k], -99999, 99999]
        fields += [] if shape.revision == "1991" else [rating[0], rating[1], shape.side]
        lines.append(",".join(map(str, fields)))
    middle = "" if shape.revision == "1991" else ",,"
    lines += [f"{k + 1},TRIP {k},{middle}0" for k in range(shape.status)]
    lines.append(f"{shape.header_hz:g}")
    total = sum(number for _, number in shape.segments)
    if shape.rates == "header":
        lines.append(str(len(shape.segments)))
        lines += [f"{rate:g},{stop}" for (rate, _), stop in zip(shape.segments, _stops(shape), strict=True)]
    else:
        lines += ["0" if shape.rates == "none" else "1", f"0,{total}"]
    day, month, year = shape.start[0].split("/")
    date = f"{month}/{day}/{year}" if shape.revision == "1991" else shape.start[0]
    lines += [f"{date},{shape.start[1]}"] * 2 + [shape.data_format]
    lines += [] if shape.revision == "1991" else ["1"]
    lines += [shape.time_code, "0,0"] if shape.revision == "2013" else []
    return shape.line_end.join(lines) + shape.line_end


def _stops(shape: Shape) -> list[int]:
    stops: list[int] = np.cumsum([count for _, count in shape.segments]).tolist()
    return stops


def _stamps(shape: Shape) -> NDArray[np.int64]:
    return np.round(shape.times() * 1e6).astype(np.int64)


def _ascii(shape: Shape, stored: NDArray[np.float64], stamps: NDArray[np.int64]) -> bytes:
    rows = []
    for k, row in enumerate(stored):
        cells = [str(k + 1), str(stamps[k]), *(f"{value:.0f}" for value in row), *["0"] * shape.status]
        rows.append(",".join(cells))
    return (shape.line_end.join(rows) + shape.line_end).encode()


def _binary(shape: Shape, stored: NDArray[np.float64], stamps: NDArray[np.int64]) -> bytes:
    kind = STORED[shape.data_format]
    words = -(-shape.status // 16)
    row = np.dtype([("n", "<u4"), ("t", "<u4"), ("v", kind, (stored.shape[1],)), ("d", "<u2", (words,))])
    rows = np.zeros(len(stored), row)
    rows["n"], rows["t"], rows["v"] = np.arange(1, len(stored) + 1), stamps, stored
    return rows.tobytes()


def healthy(folder: Path, **changes: object) -> Written:
    """Write a healthy line in a shape that differs from the usual one by ``changes``."""
    shape = replace(Shape(), **changes)  # type: ignore[arg-type]
    return write_record(folder, shape, load_waves(shape))
