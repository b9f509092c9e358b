"""Load MATLAB files of versions 4, 5, 6 and 7 with scipy, in memory that their bytes bound.

A compressed file may claim much more than it holds, and nested values may be as deep as the file is long. So the
elements are unpacked under a limit and their nesting and sizes are examined first.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.record import ReadOptions

HEADER_BYTES = 128
MATRIX, COMPRESSED = 14, 15
"""Types of elements: an array, and a compressed element."""
CELL, STRUCT, OBJECT, CHAR, SPARSE = 1, 2, 3, 4, 5
"""Classes of arrays."""
LARGEST_NUMERIC = 15
UNPACKED_FACTOR, UNPACKED_BYTES = 40, 64 << 20
"""An unpacked file may have this multiple of its bytes, or this number of bytes; waveforms shrink by less than 20."""
DEEPEST = 32
MOST_ELEMENTS = 400_000


def load_variables(path: Path, options: ReadOptions) -> dict[str, object]:
    """Load the variables of a MATLAB file.

    Args:
        path: the file.
        options: ``max_bytes`` limits the size.

    Returns:
        The variables by name, as scipy gives them.

    Raises:
        RecordError: the file is of version 7.3, damaged, or too large.
    """
    size = path.stat().st_size
    if size > options.max_bytes:
        raise RecordError(
            f"{path} has {size:,} bytes: reading it would need too much memory; save fewer variables: "
            f"max_bytes allows at most {options.max_bytes:,} bytes"
        )
    data = path.read_bytes()
    if data.startswith(b"\x89HDF") or data[124:128] in (b"\x00\x02IM", b"\x02\x00MI") or data[512:516] == b"\x89HDF":
        raise RecordError(
            f"{path}: the file has version 7.3 (HDF5), which is not read: save it again with "
            f"save('{path.name}', …, '-v7') in MATLAB"
        )
    if len(data) < 20:
        raise RecordError(f"{path}: the file ends within its header")
    if 0 not in data[:4]:
        data = _unpacked(data, path, options)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = loadmat(io.BytesIO(data), chars_as_strings=True)
    except MemoryError:
        raise RecordError(f"{path}: the variables need too much memory: save fewer of them") from None
    except Exception as error:
        # scipy raises many kinds of errors for damaged files.
        text = " ".join(str(error).split())[:120] or type(error).__name__
        raise RecordError(f"{path}: the MATLAB file cannot be read: {text}") from None
    return {name: value for name, value in found.items() if not name.startswith("__")}


def _unpacked(data: bytes, path: Path, options: ReadOptions) -> bytes:
    """Return a file of version 5 to 7 with its elements unpacked, after their nesting and sizes were examined."""
    if data[126:128] not in (b"IM", b"MI"):
        raise RecordError(f"{path}: the file is no MATLAB file")
    order = "<" if data[126:128] == b"IM" else ">"
    limit = min(options.max_bytes, max(UNPACKED_BYTES, UNPACKED_FACTOR * len(data)))
    parts = [data[:HEADER_BYTES]]
    position, total = HEADER_BYTES, 0
    while position + 8 <= len(data):
        kind, size = struct.unpack(f"{order}II", data[position : position + 8])
        content = data[position + 8 : position + 8 + size]
        if len(content) < size:
            raise RecordError.at_byte(path, position, "the file ends within a variable: copy it again")
        if kind == COMPRESSED:
            try:
                engine = zlib.decompressobj()
                element = engine.decompress(content, limit - total + 1)
            except zlib.error:
                raise RecordError.at_byte(path, position, "a compressed variable is damaged: copy it again") from None
        elif kind == MATRIX:
            element = data[position : position + 8 + size]
        else:
            raise RecordError.at_byte(path, position, f"a variable has the unknown type {kind}")
        total += len(element)
        if total > limit:
            raise RecordError(
                f"{path}: the variables need more than {limit >> 20:,} MiB unpacked: save only the waveforms"
            )
        _examine(element, order, path, position)
        parts.append(element)
        position += 8 + size
    return b"".join(parts)


def _examine(element: bytes, order: str, path: Path, where: int) -> None:
    """Raise an error if an array nests too deeply, or claims more values than it has bytes."""
    pair = struct.Struct(f"{order}II")
    ends = [len(element)]
    position = count = 0
    while ends:
        if position + 8 > ends[-1]:
            position = ends.pop()
            continue
        count += 1
        kind, size = pair.unpack_from(element, position)
        start = position + 8
        if kind >> 16:
            # A short element has its size in the upper half of the type, and its content in place of the size.
            position += 8
            continue
        if kind == MATRIX:
            stop = min(start + size, ends[-1])
            ends.append(stop)
            if len(ends) > DEEPEST + 1 or count > MOST_ELEMENTS:
                raise RecordError.at_byte(path, where, "a variable has too many values within values: save the arrays")
            _examine_size(element, order, start, stop, path, where)
            position = start
        else:
            position = min(start + size + (-size) % 8, ends[-1])


def _examine_size(element: bytes, order: str, start: int, stop: int, path: Path, where: int) -> None:
    """Raise an error if the dimensions of an array promise more values than bytes follow."""
    if stop - start < 24:
        return
    class_of = struct.unpack_from(f"{order}I", element, start + 8)[0] & 0xFF
    kind, size = struct.unpack_from(f"{order}II", element, start + 16)
    if class_of == SPARSE or class_of > LARGEST_NUMERIC or kind != 5:
        return
    there = min(size, stop - start - 24) // 4
    dims = np.frombuffer(element[start + 24 : start + 24 + 4 * there], f"{order}i4")
    if len(dims) > 32 or (dims < 0).any():
        raise RecordError.at_byte(path, where, "a variable has impossible dimensions")
    values = 1
    for dim in dims.tolist():
        values *= dim
    least = 8 if class_of in (CELL, OBJECT) else 1
    if values * least > stop - start:
        raise RecordError.at_byte(path, where, f"a variable claims {values:,} values, but has {stop - start:,} bytes")
