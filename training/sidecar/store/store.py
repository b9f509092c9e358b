"""The labelled store: windows from production with labels of their sources and of operators, bounded and crash-safe.

store = LabelledStore(folder, StoreLimits())
store.add("feeder-7", spec, start_ns, sequence, windows, labels=None, source="sensor-windows")
store.keep_near_event("feeder-7", spec, first_ns, last_ns)     # an event: an operator may label it in days
store.apply(window_label)                           # an operator did
store.flush()                                       # now offsets may be committed
store.snapshot(job_folder)                          # for the child process that trains
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import structlog
from numpy.typing import NDArray
from pydantic import ValidationError

from model.spec import SignalSpec
from stream.contract import WindowLabel
from training.data.windows import Windows
from training.errors import StoreError, TrainingError
from training.sidecar.store.episodes import episodes_of, line_hashes, neighbours, window_weights
from training.sidecar.store.label_log import LabelLog, replace_text
from training.sidecar.store.labels import class_index
from training.sidecar.store.segments import UNLABELLED
from training.sidecar.store.tiers import TIERS, StoreLimits, TieredStore

log = structlog.get_logger(__name__)

SPEC = "spec.json"
# A window that a person looked at says more than one whose label came with it.
OPERATOR_WEIGHT = 3.0


@dataclass(frozen=True)
class LabelResult:
    """Effect of a label: the number of stored ``windows`` that it covers; ``known`` where it was applied before.

    Without windows, none of that range is stored (any more, or yet: those that still come get the label).
    """

    windows: int
    known: bool = False


@dataclass(frozen=True)
class StoreSummary:
    """One spec's part of the store.

    Windows and bytes by tier, labelled windows by class, those that operators labelled, lines, operators' labels,
    labels without any window, files set aside because they were torn.
    """

    spec: str
    windows: dict[str, int]
    bytes: dict[str, int]
    classes: dict[str, int]
    by_operators: int
    lines: int
    labels: int
    labels_without_windows: int
    set_aside: int


class LabelledStore:
    """Windows from production below ``folder``, one sub-folder per spec.

    Windows with a label are kept longest, evenly by class, line and day; unlabelled ones for a while, for a label
    that comes later. ``add``, ``apply`` and ``keep_near_event`` may leave windows in memory; ``flush`` writes them.
    Every file is written whole, synced and renamed; a torn one is set aside with a warning. One process at a time.

    Args:
        folder: created when needed.
        limits: bounds per spec.
        clock: Unix time in ns, for the age of windows.

    Raises:
        StoreError: the folder cannot be used, or another process has it open.
    """

    def __init__(
        self, folder: Path, limits: StoreLimits | None = None, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.folder, self.limits, self._clock = folder, limits or StoreLimits(), clock
        self._by_spec: dict[str, TieredStore] = {}
        self._without_windows: set[str] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = (folder / ".lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"{folder}: another process has this store open; stop it or choose another folder"
            ) from None
        except OSError as error:
            raise StoreError(f"{folder}: cannot be used: {error.strerror or error}") from error
        for left in folder.glob(".*.partial"):
            left.unlink(missing_ok=True)  # of a writer that was killed
        self._label_log = LabelLog(folder)
        for path in sorted(folder.glob(f"*/{SPEC}")):
            self._open(path)

    def add(
        self,
        line: str,
        spec: SignalSpec,
        start_ns: NDArray[np.int64],
        sequence: NDArray[np.int64],
        windows: NDArray[np.float32],
        labels: Sequence[int] | NDArray[np.integer] | None = None,
        source: str = "",
    ) -> int:
        """Add windows of one line; those stored already, by line, number and start time, are skipped.

        Args:
            line: id of the line.
            spec: of the windows.
            start_ns: Unix time of their first samples, (n,).
            sequence: their numbers, (n,).
            windows: float32 (n, samples, channels), per unit.
            labels: class indices (n,), or None where the source does not know them.
            source: of the windows, e.g. the topic.

        Returns:
            How many were new.

        Raises:
            TrainingError: shapes or labels are not the spec's.
            StoreError: the disk is full; they stay in memory.
        """
        n = len(start_ns)
        known = np.full(n, UNLABELLED, np.int16) if labels is None else np.asarray(labels, np.int16)
        if windows.shape != (n, *spec.window_shape) or len(sequence) != n or known.shape != (n,):
            raise TrainingError(f"windows of {spec.name!r} must be (n, {spec.samples}, {len(spec.channels)})")
        if labels is not None and n and not (known.min() >= 0 and known.max() < len(spec.classes)):
            raise TrainingError(f"labels of {spec.name!r} must be class indices from 0 to {len(spec.classes) - 1}")
        times = np.asarray(start_ns, np.int64), np.asarray(sequence, np.int64)
        return self._tiered(spec).add(line, *times, windows, known, source, self._clock())

    def keep_near_event(self, line: str, spec: SignalSpec, first_ns: int, last_ns: int) -> int:
        """Keep unlabelled windows of a range of starts as long as events are kept; return how many there are.

        Call it for every event, so that a label given days later finds its windows.
        """
        return self._tiered(spec).keep_near_event(line, first_ns, last_ns)

    def apply(self, label: WindowLabel) -> LabelResult:
        """Give a label to the windows it covers, those that come later included. Of two labels the later one counts.

        Raises:
            TrainingError: the spec has no such class.
            StoreError: the disk is full; apply it again.
        """
        if label in self._label_log:
            return LabelResult(0, known=True)
        tiered = self._by_spec.get(label.spec)
        if tiered is not None:
            class_index(label.fault_class, tiered.spec)
        self._label_log.append(label)
        found = 0 if tiered is None else tiered.apply(label)
        if not found:
            self._without_windows.add(label.label_id)
            log.warning("label-without-windows", label_id=label.label_id, line=label.line, event_id=label.event_id)
        return LabelResult(found)

    def windows(self, spec: SignalSpec) -> Windows:
        """Return all labelled windows, grouped into episodes of one line that no split may part.

        A window weighs the share of it that its fault fills, times three where a person gave the label.
        """
        tiered = self._tiered(spec)
        rows, data = tiered.labelled_windows()
        names = line_hashes(tiered.lines.texts)[rows.line]
        weights = window_weights(rows.label, neighbours(rows.line, rows.start_ns), spec)
        weights[rows.operator_ns > 0] *= OPERATOR_WEIGHT
        episode, mask = episodes_of(names, rows.start_ns, rows.label, spec)
        return Windows(data, rows.label.astype(np.int32), weights, episode).take(mask)

    def summary(self) -> list[StoreSummary]:
        """Return the summary of every spec, after writing the windows in memory."""
        self._write()
        return [self._summary(tiered) for tiered in self._by_spec.values()]

    def flush(self) -> None:
        """Write all windows to the disk, then drop those that are too old or too many.

        Raises:
            StoreError: the disk is full; nothing is lost as long as the process lives.
        """
        self._write()
        now_ns = self._clock()
        for tiered in self._by_spec.values():
            tiered.enforce_limits(now_ns)
        old = self._label_log.surplus()
        if old:
            for tiered in self._by_spec.values():
                tiered.forget_labels(old)
            self._label_log.forget(old)
            self._without_windows -= old

    def snapshot(self, folder: Path) -> None:
        """Put the labelled windows as they are now into another folder, for another process.

        Files never change once written, so they are linked where the file system can, else copied.
        """
        self._write()
        try:
            for name, tiered in self._by_spec.items():
                (folder / name).mkdir(parents=True, exist_ok=True)
                for path in (tiered.folder / SPEC, *(segment.path for segment in tiered.segments["labelled"])):
                    _link(path, folder / name / path.name)
            self._label_log.copy(folder)
        except OSError as error:
            raise StoreError(f"{folder}: no snapshot can be made: {error.strerror or error}") from error

    def close(self) -> None:
        """Write all windows to the disk and let other processes open the store."""
        try:
            self._write()
        finally:
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self) -> None:
        for tiered in self._by_spec.values():
            tiered.write()

    def _tiered(self, spec: SignalSpec) -> TieredStore:
        tiered = self._by_spec.get(spec.name)
        if tiered is None or tiered.spec != spec:
            if tiered is not None:
                tiered.write()  # the new one reads its files
            path = self.folder / spec.name / SPEC
            try:
                path.parent.mkdir(exist_ok=True)
                replace_text(path, spec.model_dump_json(indent=2))
            except OSError as error:
                raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from error
            tiered = self._open(path)
            assert tiered is not None
        return tiered

    def _open(self, path: Path) -> TieredStore | None:
        try:
            spec = SignalSpec.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            log.warning("store-of-an-unknown-spec", file=str(path), reason=str(error))
            return None
        tiered = self._by_spec[spec.name] = TieredStore(path.parent, spec, self.limits)
        tiered.restore_labels(self._label_log.of(spec.name))
        return tiered

    def _summary(self, tiered: TieredStore) -> StoreSummary:
        labels = [segment.rows.label for segment in tiered.segments["labelled"]]
        counts = np.bincount(np.concatenate([np.empty(0, np.int16), *labels]), minlength=len(tiered.spec.classes))
        own = {label.label_id for label in self._label_log.of(tiered.spec.name)}
        return StoreSummary(
            spec=tiered.spec.name,
            windows={tier: sum(len(s.rows) for s in tiered.segments[tier]) for tier in TIERS},
            bytes={tier: tiered.bytes(tier) for tier in TIERS},
            classes=dict(zip(tiered.spec.class_names, counts.tolist(), strict=True)),
            by_operators=sum(int((s.rows.operator_ns > 0).sum()) for s in tiered.segments["labelled"]),
            lines=len(tiered.lines.texts),
            labels=len(own),
            labels_without_windows=len(own & self._without_windows),
            set_aside=tiered.set_aside,
        )


def _link(path: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(path, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        shutil.copyfile(path, target)
