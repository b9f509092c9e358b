"""Store windows from production with the labels of their sources and of operators, in bounded space and crash-safe.

Example::

    store = LabelledStore(folder, StoreLimits())
    store.add("feeder-7", spec, start_ns, sequence, windows, labels=None, source="sensor-windows")
    store.keep_near_event("feeder-7", spec, first_ns, last_ns)  # an event, which an operator may label days later
    store.apply(window_label)  # an operator's label
    store.flush()  # offsets may be committed after this
    store.snapshot(job_folder)  # for the child process that trains
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
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
from training.data.sequences import Sequences
from training.data.windows import Windows
from training.errors import StoreError, TrainingError
from training.sidecar.store.blocks import UNLABELLED, Arrival
from training.sidecar.store.database import FILE, Database
from training.sidecar.store.labels import class_index
from training.sidecar.store.tiers import LABELLED, RECENT, TIERS, StoreLimits, TieredStore
from training.sidecar.store.upgrade import upgrade

log = structlog.get_logger(__name__)

# Number of labels kept for windows that arrive later; windows that are already labelled keep their labels in any case.
MAX_LABELS = 20_000


@dataclass(frozen=True)
class LabelResult:
    """Effect of a label: the number of stored ``windows`` that it covers; ``known`` is True if it was applied before.

    ``windows`` is 0 if no window of its range is stored. Windows that arrive later are labelled then.
    """

    windows: int
    known: bool = False


@dataclass(frozen=True)
class StoreSummary:
    """Summary of one spec's part of the store.

    Attributes:
        spec: name of the spec.
        windows: number of windows by tier, without the context of labelled windows.
        context: number of unlabelled windows that are kept with the labelled ones that follow them.
        bytes: size on disk by tier; that of the labelled tier contains the context.
        classes: number of labelled windows by class.
        by_operators: number of windows labelled by operators.
        lines: number of lines with windows.
        labels: number of operators' labels.
        labels_without_windows: number of labels that covered no window when they were applied.
        set_aside: number of damaged files of the store, which were renamed.
    """

    spec: str
    windows: dict[str, int]
    context: int
    bytes: dict[str, int]
    classes: dict[str, int]
    by_operators: int
    lines: int
    labels: int
    labels_without_windows: int
    set_aside: int


class LabelledStore:
    """Store windows from production and their labels, of any number of specs, in one database in ``folder``.

    Labelled windows are kept longest, with ``StoreLimits.context_windows`` before them, and reduced evenly by class,
    line and day. All other windows are kept for a limited time, so that an operator can label them later. ``add`` and
    ``keep_near_event`` may leave windows in memory; ``flush`` writes them in one transaction. A damaged file is renamed
    with a warning, and its readable part is used. Only one process may open the store at a time.

    Args:
        folder: folder of the store, created if missing; a store of Parquet files in it is converted.
        limits: limits per spec.
        clock: returns the Unix time in ns, for the age of windows.

    Raises:
        StoreError: if the folder cannot be used, or another process has it open.
    """

    def __init__(
        self, folder: Path, limits: StoreLimits | None = None, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.folder, self.limits, self._clock = folder, limits or StoreLimits(), clock
        self._by_spec: dict[str, TieredStore] = {}
        self._labels: dict[str, WindowLabel] = {}
        self._without_windows: set[str] = set()
        with ExitStack() as opened:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                lock = opened.enter_context((folder / ".lock").open("w"))
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._database = opened.enter_context(closing(Database(folder / FILE)))
                self._read()
                self._files_set_aside = upgrade(folder, self._tiered, self._write, self._apply)
            except BlockingIOError:
                raise StoreError(
                    f"{folder}: another process has this store open: stop it or choose another folder"
                ) from None
            except OSError as error:
                raise StoreError(
                    f"{folder}: cannot be used ({error.strerror or error}): make it writable or choose another folder"
                ) from error
            self._opened = opened.pop_all()

    def _read(self) -> None:
        """Read labels and specs from the database."""
        for (body,) in self._database.rows("SELECT body FROM label ORDER BY rowid"):
            try:
                label = WindowLabel.model_validate_json(body)
            except ValidationError as error:
                log.warning("label-skipped", file=str(self._database.path), error=str(error))
                continue
            self._labels[label.label_id] = label
        for (body,) in self._database.rows("SELECT body FROM spec ORDER BY rowid"):
            try:
                self._open(SignalSpec.model_validate_json(body))
            except ValidationError as error:
                log.warning("store-spec-invalid", file=str(self._database.path), reason=str(error))

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
        """Add windows of one line; windows stored already (same line, sequence number and start time) are skipped.

        Args:
            line: id of the line.
            spec: spec of the windows.
            start_ns: Unix time of their first samples, int64 (n,).
            sequence: their sequence numbers, int64 (n,).
            windows: float32 (n, samples, channels), per unit.
            labels: class indices (n,), or None if the source does not label its windows.
            source: source of the windows, such as the topic.

        Returns:
            The number of new windows.

        Raises:
            TrainingError: if shapes or labels do not fit the spec.
            StoreError: if the disk is full; the windows stay in memory.
        """
        n = len(start_ns)
        known = np.full(n, UNLABELLED, np.int16) if labels is None else np.array(labels, np.int16)
        if windows.shape != (n, *spec.window_shape) or len(sequence) != n or known.shape != (n,):
            raise TrainingError(f"windows of {spec.name!r} must be (n, {spec.samples}, {len(spec.channels)})")
        if labels is not None and n and not (known.min() >= 0 and known.max() < len(spec.classes)):
            raise TrainingError(f"labels of {spec.name!r} must be class indices from 0 to {len(spec.classes) - 1}")
        # Copy the arrays, since the caller may change them afterwards.
        times = np.array(start_ns, np.int64), np.array(sequence, np.int64)
        data, by_operator = np.array(windows, np.float32), np.zeros(n, np.int64)
        tiered = self._tiered(spec)
        new = tiered.add(line, Arrival(*times, data, known, by_operator, RECENT, source, self._clock()))
        if tiered.pending >= self.limits.pending_windows:
            self._write()
        return new

    def keep_near_event(self, line: str, spec: SignalSpec, first_ns: int, last_ns: int) -> int:
        """Keep the unlabelled windows that start in a range as long as events are kept; return their number.

        The context of the range's first window is kept and counted as well. Call this for every event, so that its
        windows are still stored when an operator labels it days later.
        """
        return self._tiered(spec).keep_near_event(line, first_ns, last_ns)

    def apply(self, label: WindowLabel) -> LabelResult:
        """Apply a label to the windows that it covers, including those that arrive later.

        If two labels cover a window, the later one counts. The label is on disk when this returns.

        Raises:
            TrainingError: if the spec does not have the class.
            StoreError: if the disk is full; apply the label again.
        """
        if label.label_id in self._labels:
            return LabelResult(0, known=True)
        tiered = self._by_spec.get(label.spec)
        if tiered is not None:
            class_index(label.fault_class, tiered.spec)
        found = self._apply([label])
        if not found:
            self._without_windows.add(label.label_id)
            log.warning("label-without-windows", label_id=label.label_id, line=label.line, event_id=label.event_id)
        return LabelResult(found)

    def _apply(self, labels: Sequence[WindowLabel]) -> int:
        """Store labels and apply them to the stored windows in one transaction; return the number of these windows."""
        new, found = {label.label_id: label for label in labels if label.label_id not in self._labels}, 0
        with self._transaction():
            for name, label in new.items():
                self._database.rows("INSERT INTO label VALUES (?, ?, ?)", name, label.spec, label.model_dump_json())
                if label.spec in self._by_spec:
                    found += self._by_spec[label.spec].apply(label)
        self._labels |= new
        return found

    def windows(self, spec: SignalSpec) -> Windows:
        """Return all labelled windows, grouped into episodes of one line that a split must not divide.

        The weight of a window is the share of it that its fault fills, times three if an operator labelled it.
        """
        tiered = self._tiered(spec)
        self._write()
        return tiered.labelled_windows()

    def sequences(self, spec: SignalSpec, steps: int) -> Sequences:
        """Return all labelled windows with their context, for a network with a memory.

        Consecutive windows of a line are a stretch, which begins anew after a gap. A stretch is cut into sequences, and
        one that is too short is padded at its end. Windows without a label have weight 0, all others the weight that
        ``windows`` gives them. The number of sequences is at most ``training.data.feedback.MAX_SEQUENCES``.

        Args:
            spec: spec of the windows.
            steps: number of windows of a sequence.
        """
        tiered = self._tiered(spec)
        self._write()
        return tiered.labelled_sequences(steps)

    def summary(self) -> list[StoreSummary]:
        """Return the summary of every spec, after writing the windows in memory."""
        self._write()
        return [self._summary(tiered) for tiered in self._by_spec.values()]

    def flush(self) -> None:
        """Write all windows to disk, and delete those beyond the limits of age and size.

        Raises:
            StoreError: if the disk is full; nothing is lost as long as the process runs.
        """
        now_ns = self._clock()
        old = set(list(self._labels)[: MAX_LABELS // 2]) if len(self._labels) > MAX_LABELS else set()
        with self._transaction():
            for tiered in self._by_spec.values():
                tiered.enforce_limits(now_ns)
            self._database.run_many("DELETE FROM label WHERE label_id=?", [(name,) for name in old])
        self._database.trim()
        if old:
            for tiered in self._by_spec.values():
                tiered.forget_labels(old)
            self._labels = {name: label for name, label in self._labels.items() if name not in old}
            self._without_windows -= old

    def snapshot(self, folder: Path) -> None:
        """Copy the current labelled windows to another folder, for another process.

        Raises:
            StoreError: if they cannot be written.
        """
        self._write()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database.copy(folder / FILE, LABELLED)
        except OSError as error:
            raise StoreError(f"{folder}: cannot write the snapshot: {error.strerror or error}; make room") from error
        except StoreError as error:
            raise StoreError(f"{folder}: cannot write the snapshot: {error}") from error

    def close(self) -> None:
        """Write all windows to disk and let other processes open the store."""
        try:
            self._write()
        finally:
            self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit the windows in memory together with the block's changes; drop them from memory once committed."""
        with self._database.transaction():
            for tiered in self._by_spec.values():
                tiered.write()
            yield
        for tiered in self._by_spec.values():
            tiered.written()

    def _write(self) -> None:
        with self._transaction():
            pass

    def _tiered(self, spec: SignalSpec) -> TieredStore:
        tiered = self._by_spec.get(spec.name)
        if tiered is not None and tiered.spec is spec:
            return tiered  # identity first, since comparing two specs takes longer than adding a window
        if tiered is None or tiered.spec != spec:
            self._write()
            tiered = self._open(spec)
        tiered.spec = spec
        return tiered

    def _open(self, spec: SignalSpec) -> TieredStore:
        tiered = self._by_spec[spec.name] = TieredStore(self._database, spec, self.limits)
        for label in self._labels.values():
            if label.spec == spec.name:
                tiered.remember_label(label)
        return tiered

    def _summary(self, tiered: TieredStore) -> StoreSummary:
        counts = tiered.counts()
        labelled = [(label, given, windows) for tier, label, given, windows, _ in counts if tier == LABELLED]
        context = sum(windows for label, _, windows in labelled if label == UNLABELLED)
        held = [sum(row[3] for row in counts if row[0] == tier) for tier in range(len(TIERS))]
        held[LABELLED] -= context
        labels = {label.label_id for label in self._labels.values() if label.spec == tiered.spec.name}
        return StoreSummary(
            spec=tiered.spec.name,
            windows=dict(zip(TIERS, held, strict=True)),
            context=context,
            bytes={name: sum(row[4] for row in counts if row[0] == tier) for tier, name in enumerate(TIERS)},
            classes={
                name: sum(windows for label, _, windows in labelled if label == index)
                for index, name in enumerate(tiered.spec.class_names)
            },
            by_operators=sum(windows for _, given, windows in labelled if given),
            lines=tiered.lines,
            labels=len(labels),
            labels_without_windows=len(labels & self._without_windows),
            set_aside=self._database.set_aside + self._files_set_aside,
        )
