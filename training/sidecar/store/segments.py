"""The store's files: windows of one spec with their labels, in Parquet. Written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.files import write_atomic
from model.spec import SignalSpec
from training.errors import StoreError

SCHEMA_VERSION = 1
METADATA = b"faultline-windows"
ROW_GROUP_WINDOWS = 1024  # read as a whole for one window: about a megabyte
UNLABELLED = -1
COLUMNS = {"operator_ns": "verdict_ns"}
"""Columns in the files whose names differ from those in ``Rows``."""


@dataclass(frozen=True)
class Rows:
    """Columns of windows without their values, each (n,).

    Codes of ``line`` and ``source``; start time; sequence number; ``label`` (class index, −1 for none); the time at
    which an operator gave the label (0: it came with the window); the time at which the window arrived; its key.
    """

    line: NDArray[np.int32]
    source: NDArray[np.int32]
    start_ns: NDArray[np.int64]
    sequence: NDArray[np.int64]
    label: NDArray[np.int16]
    operator_ns: NDArray[np.int64]
    added_ns: NDArray[np.int64]
    key: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.start_ns)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Self:
        """Return the rows at ``index``, copied."""
        return type(self)(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return all rows of ``parts`` in their order."""
        return cls(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)})


class Names:
    """Texts and their codes, in the order of their first use."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._codes: dict[str, int] = {}

    def __getitem__(self, text: str) -> int:
        """Return the code of ``text``, a new one for a new text."""
        code = self._codes.setdefault(text, len(self.texts))
        if code == len(self.texts):
            self.texts.append(text)
        return code

    def find(self, text: str) -> int | None:
        """Return the code of ``text``, or None for an unknown text."""
        return self._codes.get(text)


def keys_of(line: str, start_ns: NDArray[np.int64], sequence: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return a 64-bit hash of line, number and start time of every window: equal for a window delivered twice."""
    own = np.uint64(int.from_bytes(blake2b(line.encode(), digest_size=8).digest(), "little"))
    return _mixed(_mixed(sequence.astype(np.uint64) ^ own) ^ start_ns.astype(np.uint64))


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea, Flood 2014): every bit of the input changes half of the output's."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


@dataclass(frozen=True, eq=False)
class Block:
    """Windows in memory, to be written."""

    rows: Rows
    windows: NDArray[np.float32]

    def data(self, index: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return windows float32 (len(index), samples, channels), as ``Segment.data``."""
        return self.windows[index]


@dataclass(eq=False)
class Segment:
    """Windows in one file. ``rows`` are in memory and may have later labels than the file; the values stay there."""

    path: Path
    rows: Rows
    shape: tuple[int, int]
    bytes: int

    @cached_property
    def newest_ns(self) -> int:
        """Time at which its last window arrived."""
        return int(self.rows.added_ns.max())

    @cached_property
    def times_ns(self) -> tuple[int, int]:
        """Start of its earliest and of its latest window: they rule most files out."""
        return int(self.rows.start_ns.min()), int(self.rows.start_ns.max())

    def data(self, index: NDArray[np.intp]) -> NDArray[np.float32]:
        """Read windows float32 (len(index), samples, channels); ``index`` ascends."""
        if len(index) == 0:
            return np.empty((0, *self.shape), np.float32)
        try:
            with pq.ParquetFile(self.path) as file:
                groups = np.unique(index // ROW_GROUP_WINDOWS)
                table = file.read_row_groups(groups.tolist(), columns=["data"])
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"{self.path}: cannot be read any more: {error}; restart to set it aside") from error
        within = np.searchsorted(groups, index // ROW_GROUP_WINDOWS) * ROW_GROUP_WINDOWS + index % ROW_GROUP_WINDOWS
        values = table.column(0).combine_chunks().flatten().to_numpy(zero_copy_only=True)
        return np.asarray(values.reshape(-1, *self.shape)[within], np.float32)


def write_segment(
    path: Path, rows: Rows, data: NDArray[np.float32], spec: SignalSpec, lines: Names, sources: Names
) -> Segment:
    """Write windows; the file gets its name when it is whole and on the disk.

    Raises:
        StoreError: it cannot be written; nothing has changed then.
    """
    try:
        with write_atomic(path) as raw:
            table = _table(rows, data, spec, lines, sources)
            # Windows overlap, and zstd finds the shared samples only where the values are stored unchanged.
            pq.write_table(
                table, raw, row_group_size=ROW_GROUP_WINDOWS, compression="zstd", use_dictionary=["line", "source"]
            )
        return Segment(path, rows, spec.window_shape, path.stat().st_size)
    except (OSError, pa.ArrowException) as error:
        says = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise StoreError(f"{path}: cannot be written: {says}; make room or choose another folder") from error


def read_segment(path: Path, spec: SignalSpec, lines: Names, sources: Names) -> Segment:
    """Read a file's columns, all but the values of the windows.

    Raises:
        StoreError: the file is torn, of another version, or of a spec that has changed.
    """
    try:
        with pq.ParquetFile(path) as file:
            if (file.schema_arrow.metadata or {}).get(METADATA) != _metadata(spec):
                raise StoreError(f"{path}: windows of another version of the store or of the spec {spec.name!r}")
            table = file.read(columns=[name for name in file.schema_arrow.names if name != "data"])
        size = path.stat().st_size
        columns = {name: table.column(name).combine_chunks() for name in table.column_names}
        numbers: dict[str, Any] = {
            name: columns[COLUMNS.get(name, name)].to_numpy(zero_copy_only=False).copy()
            for name in ("start_ns", "sequence", "label", "operator_ns", "added_ns")
        }
        texts: dict[str, Any] = {}
        for name, names in (("line", lines), ("source", sources)):
            texts[name] = _codes(columns[name], names)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise StoreError(f"{path}: cannot be read: {error}") from error
    key = np.empty(len(table), np.uint64)
    for code in np.unique(texts["line"]):
        own = texts["line"] == code
        key[own] = keys_of(lines.texts[code], numbers["start_ns"][own], numbers["sequence"][own])
    return Segment(path, Rows(**texts, **numbers, key=key), spec.window_shape, size)


def _metadata(spec: SignalSpec) -> bytes:
    """Return the metadata that must be equal in two files for their windows and labels to mean the same."""
    metadata = {
        "version": SCHEMA_VERSION,
        "spec": spec.name,
        "channels": spec.channels,
        "samples": spec.samples,
        "hop": spec.hop,
        # The name under which files have always had it.
        "samples_per_cycle": spec.period_samples,
        "classes": spec.class_names,
    }
    return json.dumps(metadata, sort_keys=True).encode()


def _table(rows: Rows, data: NDArray[np.float32], spec: SignalSpec, lines: Names, sources: Names) -> pa.Table:
    flat = pa.array(np.ascontiguousarray(data, np.float32).reshape(-1))
    columns = {
        "line": _texts(rows.line, lines),
        "source": _texts(rows.source, sources),
        "start_ns": pa.array(rows.start_ns),
        "sequence": pa.array(rows.sequence),
        "label": pa.array(rows.label),
        COLUMNS["operator_ns"]: pa.array(rows.operator_ns),
        "added_ns": pa.array(rows.added_ns),
        "data": pa.FixedSizeListArray.from_arrays(flat, spec.samples * len(spec.channels)),
    }
    return pa.table(columns).replace_schema_metadata({METADATA: _metadata(spec)})


def _texts(codes: NDArray[np.int32], names: Names) -> pa.DictionaryArray:
    used, own = np.unique(codes, return_inverse=True)
    return pa.DictionaryArray.from_arrays(pa.array(own.astype(np.int32)), pa.array([names.texts[c] for c in used]))


def _codes(column: pa.DictionaryArray, names: Names) -> NDArray[np.int32]:
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    own = np.array([names[text] for text in column.dictionary.to_pylist()], np.int32)
    return np.asarray(own[column.indices.to_numpy(zero_copy_only=False)], np.int32)
