"""The labelled store: what the field has sent, with labels of its sources and of people, bounded and crash-safe.

store = LabelledStore(folder, Limits())
store.add("feeder-7", spec, start_ns, sequence, windows, labels=None, source="sensor-windows")
store.mark("feeder-7", spec, first_ns, last_ns)     # an event: somebody may judge it in days
store.apply(window_label)                           # somebody did
store.flush()                                       # now offsets may be committed
store.snapshot(attempt_folder)                      # for the child process that trains
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import structlog
from numpy.typing import NDArray
from pydantic import ValidationError

from model.spec import SignalSpec
from stream.contract import WindowLabel
from training.data.windows import Windows
from training.errors import StoreError, TrainingError
from training.sidecar.store.episodes import episodes_of, line_hashes, neighbours, window_weights
from training.sidecar.store.label_log import Verdicts, replace_text
from training.sidecar.store.labels import class_index
from training.sidecar.store.limits import Limits as Limits
from training.sidecar.store.segments import UNLABELLED
from training.sidecar.store.tiers import TIERS, Shelf

log = structlog.get_logger(__name__)

SPEC = "spec.json"
# A window that a person looked at teaches more than one whose label came with it.
OPERATOR_WEIGHT = 3.0


@dataclass(frozen=True)
class Applied:
    """What a verdict did: ``windows`` it is about that are kept, and whether it was ``known`` already.

    No windows: none of that range is kept (any more, or yet: those that still come get the label).
    """

    windows: int
    known: bool = False


@dataclass(frozen=True)
class Summary:
    """One spec's part of the store: windows by tier and by class, bytes, verdicts, verdicts without any window, files
    set aside because they were torn."""

    spec: str
    windows: dict[str, int]
    bytes: dict[str, int]
    classes: dict[str, int]
    by_operators: int
    lines: int
    verdicts: int
    verdicts_without_windows: int
    set_aside: int

    def as_metrics(self) -> dict[str, Any]:
        """As plain values, for a report."""
        return asdict(self)


class LabelledStore:
    """Windows of the field below ``folder``, one sub-folder per spec.

    Windows with a label are kept longest, evenly by class, line and day; unlabelled ones wait in a ring for a verdict
    that comes later. ``add``, ``apply`` and ``mark`` may leave windows in memory; ``flush`` puts all on the disk.
    Every file is written whole, synced and renamed; a torn one is set aside with a warning. One process at a time.

    Args:
        folder: made when needed.
        limits: bounds per spec.
        clock: Unix time in ns, for the age of what is kept.

    Raises:
        StoreError: the folder cannot be used, or another process has it open.
    """

    def __init__(self, folder: Path, limits: Limits | None = None, clock: Callable[[], int] = time.time_ns) -> None:
        self.folder, self.limits, self._clock = folder, limits or Limits(), clock
        self._shelves: dict[str, Shelf] = {}
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
        self._verdicts = Verdicts(folder)
        for path in sorted(folder.glob(f"*/{SPEC}")):
            self._open_shelf(path)

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
        """Take windows of one line; what is here already, by line, number and start time, is passed over.

        Args:
            line: id of the line.
            spec: of the windows.
            start_ns: Unix time of their first samples, (n,).
            sequence: their numbers, (n,).
            windows: float32 (n, samples, channels), per unit.
            labels: class indices (n,), or None where the source does not know them.
            source: where they came from, e.g. the topic.

        Returns:
            How many were new.

        Raises:
            TrainingError: shapes or labels are not the spec's.
            StoreError: the disk does not take them; they wait in memory.
        """
        n = len(start_ns)
        known = np.full(n, UNLABELLED, np.int16) if labels is None else np.asarray(labels, np.int16)
        if windows.shape != (n, *spec.window_shape) or len(sequence) != n or known.shape != (n,):
            raise TrainingError(f"windows of {spec.name!r} must be (n, {spec.samples}, {len(spec.channels)})")
        if labels is not None and n and not (known.min() >= 0 and known.max() < len(spec.classes)):
            raise TrainingError(f"labels of {spec.name!r} must be class indices from 0 to {len(spec.classes) - 1}")
        times = np.asarray(start_ns, np.int64), np.asarray(sequence, np.int64)
        return self._shelf(spec).add(line, *times, windows, known, source, self._clock())

    def mark(self, line: str, spec: SignalSpec, first_ns: int, last_ns: int) -> int:
        """Keep unlabelled windows of a range of starts as long as events are; return how many there are.

        To be called for every event, so that a verdict on it days later finds its windows.
        """
        return self._shelf(spec).mark(line, first_ns, last_ns)

    def apply(self, label: WindowLabel) -> Applied:
        """Join a verdict to the windows it is about, those that come later included. The latest verdict counts.

        Raises:
            TrainingError: the spec has no such class.
            StoreError: the disk does not take it; apply it again.
        """
        if label in self._verdicts:
            return Applied(0, known=True)
        shelf = self._shelves.get(label.spec)
        if shelf is not None:
            class_index(label.fault_class, shelf.spec)
        self._verdicts.append(label)
        found = 0 if shelf is None else shelf.judge(label)
        if not found:
            self._without_windows.add(label.label_id)
            log.warning("label-without-windows", label_id=label.label_id, line=label.line, event_id=label.event_id)
        return Applied(found)

    def windows(self, spec: SignalSpec) -> Windows:
        """All labelled windows; an episode is a stretch of one line, so that splits part no stretch.

        Weights follow how much of a window its fault fills, times three where a person gave the label.
        """
        shelf = self._shelf(spec)
        rows, data = shelf.labelled()
        names = line_hashes(shelf.lines.texts)[rows.line]
        weights = window_weights(rows.label, neighbours(rows.line, rows.start_ns), spec)
        weights[rows.verdict_ns > 0] *= OPERATOR_WEIGHT
        episode, apart = episodes_of(names, rows.start_ns, rows.label, spec)
        return Windows(data, rows.label.astype(np.int32), weights, episode).take(apart)

    def summary(self) -> list[Summary]:
        """What there is of every spec, what waits in memory included."""
        self._write()
        return [self._summary(shelf) for shelf in self._shelves.values()]

    def flush(self) -> None:
        """Put everything on the disk, then drop what is too old or too much.

        Raises:
            StoreError: the disk does not take it; nothing is lost as long as the process lives.
        """
        self._write()
        now_ns = self._clock()
        for shelf in self._shelves.values():
            shelf.clear(now_ns)
        old = self._verdicts.too_many()
        if old:
            for shelf in self._shelves.values():
                shelf.forget_verdicts(old)
            self._verdicts.forget(old)
            self._without_windows -= old

    def snapshot(self, folder: Path) -> None:
        """Have the labelled windows as they are now in another folder, for a process of its own.

        Files never change once written, so they are linked where the file system can, else copied.
        """
        self._write()
        try:
            for name, shelf in self._shelves.items():
                (folder / name).mkdir(parents=True, exist_ok=True)
                for path in (shelf.folder / SPEC, *(segment.path for segment in shelf.segments["kept"])):
                    _link(path, folder / name / path.name)
            self._verdicts.copy(folder)
        except OSError as error:
            raise StoreError(f"{folder}: no snapshot can be made: {error.strerror or error}") from error

    def close(self) -> None:
        """Put everything on the disk and let other processes open it."""
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
        for shelf in self._shelves.values():
            shelf.write()

    def _shelf(self, spec: SignalSpec) -> Shelf:
        shelf = self._shelves.get(spec.name)
        if shelf is None or shelf.spec != spec:
            if shelf is not None:
                shelf.write()  # its successor reads it
            path = self.folder / spec.name / SPEC
            try:
                path.parent.mkdir(exist_ok=True)
                replace_text(path, spec.model_dump_json(indent=2))
            except OSError as error:
                raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from error
            shelf = self._open_shelf(path)
            assert shelf is not None
        return shelf

    def _open_shelf(self, path: Path) -> Shelf | None:
        try:
            spec = SignalSpec.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            log.warning("store-of-an-unknown-spec", file=str(path), reason=str(error))
            return None
        shelf = self._shelves[spec.name] = Shelf(path.parent, spec, self.limits)
        shelf.remember(self._verdicts.of(spec.name))
        return shelf

    def _summary(self, shelf: Shelf) -> Summary:
        labels = [segment.rows.label for segment in shelf.segments["kept"]]
        counts = np.bincount(np.concatenate([np.empty(0, np.int16), *labels]), minlength=len(shelf.spec.classes))
        own = {verdict.label_id for verdict in self._verdicts.of(shelf.spec.name)}
        return Summary(
            spec=shelf.spec.name,
            windows={tier: sum(len(s.rows) for s in shelf.segments[tier]) for tier in TIERS},
            bytes={tier: shelf.bytes(tier) for tier in TIERS},
            classes=dict(zip(shelf.spec.class_names, counts.tolist(), strict=True)),
            by_operators=sum(int((s.rows.verdict_ns > 0).sum()) for s in shelf.segments["kept"]),
            lines=len(shelf.lines.texts),
            verdicts=len(own),
            verdicts_without_windows=len(own & self._without_windows),
            set_aside=shelf.set_aside,
        )


def _link(path: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(path, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        shutil.copyfile(path, target)
