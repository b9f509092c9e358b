"""Write and read an artefact's bytes: the safetensors format, written in one canonical way and checked when read.

The safetensors package writes metadata in random order, so two files of one model would differ; here they are equal.
Layout: header length as little-endian uint64, JSON header padded with spaces to eight bytes, tensors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import CorruptArtefactError, TruncatedArtefactError

__all__ = [
    "canonical_json",
    "hash_tensors",
    "manifest_of",
    "read_header",
    "read_tensors",
    "sha256",
    "without_run",
    "write",
]

_LENGTH_BYTES = 8
_ALIGNMENT = 8
_AGAIN = "fetch or train the artefact again"


def sha256(data: bytes) -> str:
    """Return the SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def without_run(manifest_json: str) -> str:
    """Return a manifest without the ``run`` part of its provenance, which differs between runs of one command.

    A manifest without ``run`` is returned unchanged, to the byte, so that a model keeps its id when the format changes.
    """
    manifest = json.loads(manifest_json)
    if "run" not in manifest.get("provenance", {}):
        return manifest_json
    del manifest["provenance"]["run"]
    return canonical_json(manifest)


def canonical_json(value: Any) -> str:
    """Return the canonical JSON of a value: sorted keys, no spaces, ASCII; raise ValueError for NaN and infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def hash_tensors(tensors: Mapping[str, NDArray[np.float32]]) -> str:
    """Return the SHA-256 over name, type, shape and bytes of every tensor, in the mapping's order."""
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(canonical_json([name, tensor.dtype.name, list(tensor.shape)]).encode())
        digest.update(np.ascontiguousarray(tensor).tobytes())
    return digest.hexdigest()


def write(manifest_json: str, tensors: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Return the container's bytes, with the tensors in the mapping's order."""
    header: dict[str, Any] = {
        "__metadata__": {"manifest": manifest_json, "manifest_sha256": sha256(manifest_json.encode())}
    }
    sizes = {name: (tensor.shape, tensor.nbytes) for name, tensor in tensors.items()}
    blob = b"".join(tensor.astype("<f4").tobytes() for tensor in tensors.values())
    text = _header_bytes(header | _entries(sizes))
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text + blob


def read_header(data: bytes) -> tuple[dict[str, Any], int]:
    """Return the header and the offset of the tensors; raise TruncatedArtefactError or CorruptArtefactError."""
    if len(data) < _LENGTH_BYTES:
        raise TruncatedArtefactError(f"the artefact has {len(data)} bytes, less than a header: {_AGAIN}")
    end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
    if end > len(data) and not _has_a_whole_header(data):
        raise TruncatedArtefactError(f"the artefact ends inside its header, after {len(data)} bytes: {_AGAIN}")
    raw = data[_LENGTH_BYTES:end]
    try:
        header = json.loads(raw)
        # JSON leaves spaces, escapes and the order of keys open; Faultline writes a header in one way only.
        as_written = end <= len(data) and isinstance(header, dict) and _header_bytes(header) == raw
    except (ValueError, RecursionError) as error:
        raise CorruptArtefactError(f"the artefact's header is damaged: {_AGAIN}") from error
    if not as_written:
        raise CorruptArtefactError(f"the artefact's header is not as it was written: {_AGAIN}")
    return header, end


def manifest_of(header: Mapping[str, Any]) -> str:
    """Return the manifest's JSON after verifying its hash; raise CorruptArtefactError if it differs."""
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or set(metadata) != {"manifest", "manifest_sha256"}:
        raise CorruptArtefactError(f"this is no Faultline artefact: it lacks a manifest and its hash; {_AGAIN}")
    text = metadata["manifest"]
    if not isinstance(text, str) or not text.isascii() or sha256(text.encode()) != metadata["manifest_sha256"]:
        raise CorruptArtefactError(f"the manifest does not match its SHA-256: {_AGAIN}")
    return text


def read_tensors(
    data: bytes, start: int, header: Mapping[str, Any], sizes: Mapping[str, tuple[tuple[int, ...], int]]
) -> dict[str, NDArray[np.float32]]:
    """Return the tensors as read-only views of ``data``.

    Args:
        data: the whole container.
        start: offset of the tensors.
        header: the header from ``read_header``.
        sizes: shape and bytes of every tensor in file order, from the verified manifest.

    Raises:
        TruncatedArtefactError: there are fewer bytes than the manifest requires.
        CorruptArtefactError: there are more bytes, or the header contradicts the manifest.
    """
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if entries != _entries(sizes):
        raise CorruptArtefactError(f"the artefact's header contradicts its manifest: {_AGAIN}")
    needed, there = sum(size for _, size in sizes.values()), len(data) - start
    if there < needed:
        raise TruncatedArtefactError(f"the artefact ends early: {there} of {needed} bytes of weights; {_AGAIN}")
    if there > needed:
        raise CorruptArtefactError(f"the artefact has {there - needed} bytes too many: {_AGAIN}")
    tensors, offset = {}, start
    for name, (shape, size) in sizes.items():
        tensors[name] = np.frombuffer(data, "<f4", size // 4, offset).reshape(shape)
        offset += size
    return tensors


def _entries(sizes: Mapping[str, tuple[tuple[int, ...], int]]) -> dict[str, Any]:
    entries, offset = {}, 0
    for name, (shape, size) in sizes.items():
        entries[name] = {"data_offsets": [offset, offset + size], "dtype": "F32", "shape": list(shape)}
        offset += size
    return entries


def _header_bytes(header: Mapping[str, Any]) -> bytes:
    text = canonical_json(header).encode()
    return text + b" " * (-len(text) % _ALIGNMENT)


def _has_a_whole_header(data: bytes) -> bool:
    """Return True if the JSON is complete and more bytes follow, so that the stated length must be wrong."""
    text = data[_LENGTH_BYTES:].decode("latin-1")
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return bool(text[end:].strip(" "))
