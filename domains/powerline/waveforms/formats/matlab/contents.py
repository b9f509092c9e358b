"""Load MATLAB files of versions 4, 5, 6 and 7 with scipy, in memory that their bytes bound.

A compressed file may claim much more than it holds, and nested values may be as deep as the file is long. So the
elements are unpacked under a limit and their nesting and sizes are examined first.
"""

from __future__ import annotations

import io
import math
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.file_size import check_size
from domains.powerline.waveforms.record import ReadOptions

HEADER_BYTES = 128
MATRIX, COMPRESSED = 14, 15
"""Types of elements: an array, and a compressed element."""
CELL, STRUCT, OBJECT, CHAR, SPARSE = 1, 2, 3, 4, 5
"""Classes of arrays."""
NAME, SIZES, FLAGS = 1, 5, 6
NUMERIC, TEXTS = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 12, 13}), frozenset({16, 17, 18})
"""Types of the elements of an array: name, sizes, flags; numbers; text in a Unicode encoding."""
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
    check_size([path], options.max_bytes, "save fewer variables")
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


@dataclass(slots=True)
class _Array:
    """An array that is being examined: its end, its class, its number of values, and the elements seen in it."""

    stop: int
    class_of: int = 0
    values: int = 0
    name_bytes: int = 1
    fields: int = 0
    seen: int = 0

    @property
    def is_complete(self) -> bool:
        """Return True if the array has all its elements."""
        if self.class_of == CELL:
            return self.seen == 3 + self.values
        if self.class_of in (STRUCT, OBJECT):
            return self.seen == (5 if self.class_of == STRUCT else 6) + self.fields * self.values
        if self.class_of == SPARSE:
            return self.seen >= 6
        return self.class_of > LARGEST_NUMERIC or self.seen >= 4


def _examine(element: bytes, order: str, path: Path, where: int) -> None:
    """Raise an error if an array nests too deeply, claims more values than it has bytes, or holds unknown types.

    scipy trusts the types and the order of the elements: a damaged one would end the process.
    """
    pair = struct.Struct(f"{order}II")
    arrays = [_Array(len(element))]
    position = count = 0
    while arrays:
        array = arrays[-1]
        if position + 8 > array.stop:
            if len(arrays) > 1 and not array.is_complete:
                raise RecordError.at_byte(path, where, "a variable is damaged: save it again")
            position = arrays.pop().stop
            continue
        count += 1
        kind, size = pair.unpack_from(element, position)
        start = position + 8
        # A short element has its size in the upper half of the type, and its content in place of the size.
        short = kind >> 16
        kind &= 0xFFFF
        if short > 4 or not _is_expected(kind, 8 if not short and size == 8 else 0, array, len(arrays) == 1):
            raise RecordError.at_byte(path, where, "a variable is damaged: save it again")
        content = element[position + 4 : position + 8] if short else element[start : start + size]
        if len(arrays) > 1:
            _note(array, short or size, content, order)
        array.seen += 1
        if short:
            position += 8
        elif kind == MATRIX and size:
            # A value without content, as in an empty cell, has no elements.
            stop = min(start + size, array.stop)
            arrays.append(_Array(stop))
            if len(arrays) > DEEPEST + 1 or count > MOST_ELEMENTS:
                raise RecordError.at_byte(path, where, "a variable has too many values within values: save the arrays")
            _examine_size(element, order, start, stop, path, where)
            position = start
        else:
            position = min(start + size + (-size) % 8, array.stop)


def _note(array: _Array, size: int, content: bytes, order: str) -> None:
    """Note class, number of values and number of fields from the first elements of an array."""
    first = 1 if array.class_of == OBJECT else 0
    if array.seen == 0:
        array.class_of = content[0] if order == "<" else content[3]
    elif array.seen == 1 and array.class_of <= LARGEST_NUMERIC:
        array.values = math.prod(np.frombuffer(content[: size // 4 * 4], f"{order}i4").tolist())
    elif array.seen == 3 + first and array.class_of in (STRUCT, OBJECT) and size >= 4:
        array.name_bytes = max(1, int.from_bytes(content[:4], "little" if order == "<" else "big", signed=True))
    elif array.seen == 4 + first and array.class_of in (STRUCT, OBJECT):
        array.fields = size // array.name_bytes


def _is_expected(kind: int, flag_bytes: int, array: _Array, is_top: bool) -> bool:
    """Return True if an element of a type may follow in an array; all arrays begin with flags, sizes and a name."""
    if is_top:
        return kind == MATRIX
    if array.seen == 0:
        return kind == FLAGS and flag_bytes == 8
    if array.class_of > LARGEST_NUMERIC:
        # Functions and objects have an order of their own.
        return kind in NUMERIC or kind in TEXTS or kind == MATRIX
    if array.class_of < CELL:
        return False
    if array.seen < 3:
        return kind == (SIZES, NAME)[array.seen - 1]
    if array.class_of in (CELL, STRUCT, OBJECT):
        before = {CELL: (), STRUCT: (SIZES, NAME), OBJECT: (NAME, SIZES, NAME)}[array.class_of]
        return kind == (before[array.seen - 3] if array.seen - 3 < len(before) else MATRIX)
    return kind in NUMERIC or (array.class_of == CHAR and kind in TEXTS)


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
