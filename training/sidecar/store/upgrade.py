"""Convert a store of Parquet files, the format before SQLite: one folder per spec, with files of three tiers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import structlog
from pydantic import ValidationError

from model.spec import SignalSpec
from stream.contract import WindowLabel
from training.errors import StoreError
from training.sidecar.store.blocks import Arrival
from training.sidecar.store.tiers import TieredStore

log = structlog.get_logger(__name__)

SPEC, LABELS = "spec.json", "verdicts.jsonl"
PREFIXES = ("kept", "marked", "ring")
"""First part of a file's name, by the position of its tier in ``TIERS``."""
METADATA, VERSION = b"faultline-windows", 1


def upgrade(
    folder: Path,
    tiered: Callable[[SignalSpec], TieredStore],
    write: Callable[[], None],
    apply: Callable[[Sequence[WindowLabel]], object],
) -> int:
    """Convert windows, then labels, since the files of windows may lack some; return the number of damaged files.

    A file is removed once its contents are committed; a damaged file is renamed. The conversion can be interrupted
    anywhere and starts again: windows that are in the database are skipped by line, start time and sequence number,
    labels by their id.

    Args:
        folder: folder of the store.
        tiered: opens the windows of a spec.
        write: commits the windows that were added.
        apply: commits labels.

    Raises:
        StoreError: if the disk is full, or a file cannot be removed.
    """
    set_aside = 0
    for left in (*folder.glob(".*.partial"), *folder.glob("*/.*.partial")):
        left.unlink()  # the file of a writer that was killed
    for path in sorted(folder.glob(f"*/{SPEC}")):
        try:
            spec = SignalSpec.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            log.warning("store-spec-invalid", file=str(path), reason=str(error))
            continue
        store = tiered(spec)
        for tier, file in _files(path.parent):
            try:
                arrivals = list(_arrivals(file, spec, tier))
            except (OSError, KeyError, ValueError, pa.ArrowException) as error:
                aside = file.replace(file.with_suffix(".aside"))
                set_aside += 1
                log.warning("store-file-set-aside", file=str(aside), reason=str(error))
                continue
            for line, arrival in arrivals:
                store.add(line, arrival)
            write()
            file.unlink()
            log.info("store-file-upgraded", file=str(file), windows=sum(len(a.start_ns) for _, a in arrivals))
        path.unlink()
        with suppress(OSError):  # not empty if it has damaged files
            path.parent.rmdir()
    labels = folder / LABELS
    if labels.exists():
        apply(_labels(labels))
        labels.unlink()
    return set_aside


def _files(folder: Path) -> Iterator[tuple[int, Path]]:
    """Yield tiers and files in an order in which the valid copy of a window comes first.

    A window is in two files if it was labelled later, which copied it to a higher tier, or if a killed writer left a
    file and its successor.
    """
    for tier, prefix in enumerate(PREFIXES):
        for file in sorted(folder.glob(f"{prefix}-*.parquet"), reverse=True):
            yield tier, file


def _arrivals(file: Path, spec: SignalSpec, tier: int) -> Iterator[tuple[str, Arrival]]:
    """Yield the lines of a file with their windows, by line and source; raise ValueError if it has another spec."""
    table = pq.read_table(file)
    about = {
        "version": VERSION,
        "spec": spec.name,
        "channels": list(spec.channels),
        "samples": spec.samples,
        "hop": spec.hop,
        "samples_per_cycle": spec.period_samples,  # its name in these files
        "classes": list(spec.class_names),
    }
    if json.loads((table.schema.metadata or {})[METADATA]) != about:
        raise ValueError(f"windows of another version of the store or of the spec {spec.name!r}")
    windows = table.column("data").combine_chunks().flatten().to_numpy().reshape(-1, *spec.window_shape)
    start_ns, sequence, label, operator_ns, added_ns = (
        table.column(name).to_numpy() for name in ("start_ns", "sequence", "label", "verdict_ns", "added_ns")
    )
    lines, sources = (np.array(table.column(name).to_pylist(), object) for name in ("line", "source"))
    for line, source in sorted(set(zip(lines, sources, strict=True))):
        own = np.flatnonzero((lines == line) & (sources == source))
        # If a crash has left two copies of a window, the later label counts.
        own = own[np.lexsort((-operator_ns[own], sequence[own], start_ns[own]))]
        columns = (start_ns[own], sequence[own], windows[own], label[own].astype(np.int16), operator_ns[own])
        yield line, Arrival(*columns, tier=tier, source=source, added_ns=int(added_ns[own].max()))


def _labels(path: Path) -> list[WindowLabel]:
    """Read the log of labels; a truncated line was never committed, so its label will be delivered again."""
    labels = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror or error}: make it readable") from error
    for line in filter(None, lines):
        try:
            labels.append(WindowLabel.model_validate_json(line))
        except ValidationError:
            log.warning("torn-label-skipped", file=str(path))
    return labels
