"""The windows of one spec in the store: those still in memory, three tiers of files, and their retention."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self, get_args

import numpy as np
import structlog
from numpy.typing import NDArray
from pydantic import Field

from model.frozen import FrozenModel
from model.spec import SignalSpec
from stream.contract import WindowLabel
from stream.settings import Settings
from training.data.balancing import balanced
from training.errors import StoreError, TrainingError
from training.sidecar.store.labels import apply_label, class_index
from training.sidecar.store.segments import (
    UNLABELLED,
    Block,
    Names,
    Rows,
    Segment,
    keys_of,
    read_segment,
    write_segment,
)

log = structlog.get_logger(__name__)

MIB = 1024 * 1024
DAY_S = 86_400.0
DAY_NS = 86_400_000_000_000
Tier = Literal["labelled", "near_event", "recent"]
TIERS: tuple[Tier, ...] = get_args(Tier)
FILE_PREFIX: dict[Tier, str] = {"labelled": "kept", "near_event": "marked", "recent": "ring"}
"""First part of a file's name by its tier; written to disks since the first version."""
FILL_AFTER_REDUCTION = 0.8  # of the limit, so that a reduction is rare
MAX_SMALL_FILES = 8  # files much smaller than they should be; more are joined
MAX_EVENT_RANGES = 20  # of a line, for windows that are still to come


class StoreLimits(FrozenModel):
    """Bounds of the store, per spec, on the disk. Age counts from the arrival of a window, not from its own time."""

    labelled_bytes: int = Field(256 * MIB, ge=1, description="Labelled windows; some 350,000 of 32 x 6 values.")
    labelled_s: float = Field(365 * DAY_S, gt=0, description="A labelled fault is rare: a year of them.")
    near_event_bytes: int = Field(128 * MIB, ge=1, description="Unlabelled windows near an event.")
    near_event_s: float = Field(30 * DAY_S, gt=0, description="As long as its events stay on their topics.")
    recent_bytes: int = Field(
        256 * MIB, ge=1, description="All other unlabelled windows; 25 lines send 3.8 MB a second."
    )
    recent_s: float = Field(DAY_S, gt=0, description="As long as windows stay on their topic.")
    segment_windows: int = Field(8192, ge=1, description="Windows in a file: about 6 MB.")

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the limits that the settings give."""
        return cls(
            labelled_bytes=settings.store_labelled_mb * MIB,
            labelled_s=settings.store_labelled_days * DAY_S,
            near_event_bytes=settings.store_event_mb * MIB,
            near_event_s=settings.store_event_days * DAY_S,
            recent_bytes=settings.store_waiting_mb * MIB,
            recent_s=settings.store_waiting_hours * 3600,
        )

    def bytes(self, tier: Tier) -> int:
        """Return the most bytes of a tier."""
        return {"labelled": self.labelled_bytes, "near_event": self.near_event_bytes, "recent": self.recent_bytes}[tier]

    def age_s(self, tier: Tier) -> float:
        """Return the longest stay in a tier, in seconds."""
        return {"labelled": self.labelled_s, "near_event": self.near_event_s, "recent": self.recent_s}[tier]


class TieredStore:
    """Windows of ``spec`` below ``folder``.

    ``labelled`` holds labelled windows, ``near_event`` unlabelled ones near an event, ``recent`` all others for a
    while. A window that gets its label later is copied to ``labelled``; its first copy goes with its file.
    """

    def __init__(self, folder: Path, spec: SignalSpec, limits: StoreLimits) -> None:
        self.folder, self.spec, self.limits = folder, spec, limits
        self.lines, self._sources = Names(), Names()
        self.segments: dict[Tier, list[Segment]] = {tier: [] for tier in TIERS}
        self._pending: dict[Tier, list[Block]] = {tier: [] for tier in TIERS}
        self._labels: dict[str, list[WindowLabel]] = {}
        self._event_ranges: dict[str, list[tuple[int, int]]] = {}
        self._number = 0
        self.set_aside = 0
        self._open()
        self._known = np.sort(np.concatenate([np.empty(0, np.uint64), *(s.rows.key for s in self._all_segments())]))
        self._pending_keys: set[int] = set()

    # Coming in -----------------------------------------------------------------------------------------------------

    def add(
        self,
        line: str,
        start_ns: NDArray[np.int64],
        sequence: NDArray[np.int64],
        windows: NDArray[np.float32],
        labels: NDArray[np.int16],
        source: str,
        now_ns: int,
    ) -> int:
        """Add windows of one line that are not stored yet; return how many were new."""
        key = keys_of(line, start_ns, sequence)
        place = np.minimum(np.searchsorted(self._known, key), max(0, len(self._known) - 1))
        new = self._known[place] != key if len(self._known) else np.ones(len(key), bool)
        if len(self._pending_keys):
            new &= np.array([k not in self._pending_keys for k in key.tolist()])
        first = np.zeros(len(key), bool)
        first[np.unique(key, return_index=True)[1]] = True
        new &= first
        if not new.any():
            return 0
        n = len(key)
        code, origin = np.full(n, self.lines[line], np.int32), np.full(n, self._sources[source], np.int32)
        never, now = np.zeros(n, np.int64), np.full(n, now_ns, np.int64)
        rows = Rows(code, origin, start_ns, sequence, labels, never, now, key).take(new)
        data, first_ns, last_ns = windows[new], rows.start_ns.min(), rows.start_ns.max()
        for label in self._labels.get(line, ()):
            if label.first_ns <= last_ns and label.last_ns >= first_ns:
                self._label_rows(label, rows)
        near_event = np.zeros(len(rows), bool)
        for begin, end in self._event_ranges.get(line, ()):
            near_event |= (rows.start_ns >= begin) & (rows.start_ns <= end)
        labelled = rows.label != UNLABELLED
        masks = (labelled, near_event & ~labelled, ~near_event & ~labelled)
        for tier, mask in zip(TIERS, masks, strict=True):
            if mask.any():
                self._put(tier, Block(rows.take(mask), data[mask]))
        self._write_if_full()
        return int(new.sum())

    def apply(self, label: WindowLabel) -> int:
        """Give a label to the stored windows it covers, and to those still to come; return how many are stored.

        Raises:
            TrainingError: the spec has no such class.
        """
        class_index(label.fault_class, self.spec)
        self._labels.setdefault(label.line, []).append(label)
        return self._promote("labelled", label.line, label.first_ns, label.last_ns, label)

    def keep_near_event(self, line: str, first_ns: int, last_ns: int) -> int:
        """Keep windows in a range of starts for longer: an operator may label them."""
        self._event_ranges[line] = [*self._event_ranges.get(line, [])[1 - MAX_EVENT_RANGES :], (first_ns, last_ns)]
        return self._promote("near_event", line, first_ns, last_ns, None)

    def forget_labels(self, gone: set[str]) -> None:
        """Drop labels by their id, after writing them with their windows."""
        for line, labels in list(self._labels.items()):
            self._labels[line] = [label for label in labels if label.label_id not in gone]
        self._rewrite([(segment, np.ones(len(segment.rows), bool)) for segment in self.segments["labelled"]])

    def _label_rows(self, label: WindowLabel, rows: Rows) -> None:
        own = rows.line == self.lines.find(label.line)
        labels, given = rows.label[own], rows.operator_ns[own]
        apply_label(label, class_index(label.fault_class, self.spec), rows.start_ns[own], labels, given)
        rows.label[own], rows.operator_ns[own] = labels, given

    def _promote(self, into: Tier, line: str, first_ns: int, last_ns: int, label: WindowLabel | None) -> int:
        """Copy windows of a range from lower tiers into a higher one, with ``label``; return how many of the range the
        higher tiers hold then."""
        code = self.lines.find(line)
        if code is None:
            return 0
        known = np.empty(0, np.uint64)
        for tier in TIERS[: TIERS.index(into) + 1]:
            for rows in (block.rows for block in self._near(tier, first_ns, last_ns)):
                own = _within(rows, code, first_ns, last_ns)
                known = np.concatenate([known, rows.key[own]])
                if label is not None and len(own):
                    self._label_rows(label, rows)
        for tier in TIERS[TIERS.index(into) + 1 :]:
            for block in self._near(tier, first_ns, last_ns):
                own = _within(block.rows, code, first_ns, last_ns)
                own = own[~np.isin(block.rows.key[own], known)]
                if not len(own):
                    continue
                copy = Block(block.rows.take(own), block.data(own))
                if label is not None:
                    self._label_rows(label, copy.rows)
                self._put(into, copy)
                known = np.concatenate([known, copy.rows.key])
                if isinstance(block, Block):
                    self._pending[tier].remove(block)
                    rest = np.setdiff1d(np.arange(len(block.rows)), own)
                    self._pending[tier].append(Block(block.rows.take(rest), block.data(rest)))
        self._write_if_full()
        return len(np.unique(known))

    def _near(self, tier: Tier, first_ns: int, last_ns: int) -> list[Block | Segment]:
        """Return the blocks and files that may hold windows starting in a range."""
        files = [s for s in self.segments[tier] if s.times_ns[0] <= last_ns and s.times_ns[1] >= first_ns]
        return [*self._pending[tier], *files]

    # Writing and clearing ------------------------------------------------------------------------------------------

    def _put(self, tier: Tier, block: Block) -> None:
        self._pending[tier].append(block)
        self._pending_keys.update(block.rows.key.tolist())

    def _write_if_full(self) -> None:
        if len(self._pending_keys) >= self.limits.segment_windows:
            self.write()

    def write(self) -> None:
        """Write the windows in memory to the disk.

        Raises:
            StoreError: they cannot be written, and stay in memory.
        """
        for tier in TIERS:
            self._write(tier, self._pending[tier])
            self._pending[tier] = []
            self._join_small(tier)
        self._pending_keys.clear()

    def enforce_limits(self, now_ns: int) -> None:
        """Drop windows that are too old or too many."""
        for tier in TIERS:
            old_ns = now_ns - round(self.limits.age_s(tier) * 1e9)
            self._drop(tier, [s for s in self.segments[tier] if s.newest_ns < old_ns])
        for tier in ("near_event", "recent"):
            by_age = sorted(self.segments[tier], key=lambda s: s.newest_ns)
            excess = self.bytes(tier) - self.limits.bytes(tier)
            gone = []
            while excess > 0 and by_age:
                gone.append(by_age.pop(0))
                excess -= gone[-1].bytes
            self._drop(tier, gone)
        if self.bytes("labelled") > self.limits.bytes("labelled"):
            self._reduce_labelled()

    def bytes(self, tier: Tier) -> int:
        """Return the size of a tier's files."""
        return sum(segment.bytes for segment in self.segments[tier])

    def _reduce_labelled(self) -> None:
        """Drop labelled windows, evenly by class, then line, then day; operators' labels are classes of their own."""
        segments = self.segments["labelled"]
        rows = Rows.joined([segment.rows for segment in segments])
        budget = int(FILL_AFTER_REDUCTION * len(rows) * self.limits.bytes("labelled") / self.bytes("labelled"))
        group = rows.label.astype(np.int64) * 2 + (rows.operator_ns > 0)
        keep = balanced([group, rows.line, rows.start_ns // DAY_NS], rows.start_ns, budget)
        stops = np.cumsum([len(segment.rows) for segment in segments])
        parts = np.split(keep, stops[:-1])
        self._rewrite([(segment, part) for segment, part in zip(segments, parts, strict=True) if not part.all()])
        log.info("store-reduced", spec=self.spec.name, windows=len(rows), left=int(keep.sum()))

    def _rewrite(self, masks: Sequence[tuple[Segment, NDArray[np.bool_]]]) -> None:
        """Rewrite labelled segments with the windows of their masks only, then drop the old files."""
        blocks: list[Block] = []
        for segment, keep in masks:
            index = np.flatnonzero(keep)
            if len(index):
                blocks.append(Block(segment.rows.take(index), segment.data(index)))
            if sum(len(b.rows) for b in blocks) >= self.limits.segment_windows:
                self._write("labelled", blocks)
                blocks = []
        self._write("labelled", blocks)
        self._drop("labelled", [segment for segment, _ in masks])

    def _join_small(self, tier: Tier) -> None:
        """Join files that were written early, each of a few windows, so that their number stays small."""
        small = [s for s in self.segments[tier] if len(s.rows) < self.limits.segment_windows // 4]
        if len(small) >= MAX_SMALL_FILES:
            blocks = [Block(s.rows, s.data(np.arange(len(s.rows)))) for s in small]
            self._write(tier, blocks)
            self._drop(tier, small)

    def _write(self, tier: Tier, blocks: Sequence[Block]) -> None:
        if not sum(len(block.rows) for block in blocks):
            return
        rows = Rows.joined([block.rows for block in blocks])
        self._number += 1
        path = self.folder / f"{FILE_PREFIX[tier]}-{self._number:012d}.parquet"
        data = np.concatenate([block.windows for block in blocks])
        self.segments[tier].append(write_segment(path, rows, data, self.spec, self.lines, self._sources))
        keys = np.sort(rows.key)
        self._known = np.insert(self._known, np.searchsorted(self._known, keys), keys)

    def _drop(self, tier: Tier, gone: Sequence[Segment]) -> None:
        for segment in gone:
            segment.path.unlink(missing_ok=True)
            self.segments[tier].remove(segment)
            keys = np.sort(segment.rows.key)
            self._known = np.delete(self._known, np.unique(np.searchsorted(self._known, keys)))

    # Reading -------------------------------------------------------------------------------------------------------

    def labelled_windows(self) -> tuple[Rows, NDArray[np.float32]]:
        """Return all labelled windows, each once, by line and time."""
        self.write()
        segments = self.segments["labelled"]
        if not segments:
            none = Rows(*(np.empty(0, t) for t in ("i4", "i4", "i8", "i8", "i2", "i8", "i8", "u8")))
            return none, np.empty((0, *self.spec.window_shape), np.float32)
        rows = Rows.joined([s.rows for s in segments])
        data = np.concatenate([s.data(np.arange(len(s.rows))) for s in segments])
        # A crash between rewriting a file and dropping the old one leaves windows twice: the later label counts.
        order = np.lexsort((-rows.operator_ns, rows.key))
        first = order[np.unique(rows.key[order], return_index=True)[1]]
        rows, data = rows.take(first), data[first]
        order = np.lexsort((rows.start_ns, rows.line))
        return rows.take(order), data[order]

    def _all_segments(self) -> list[Segment]:
        return [segment for tier in TIERS for segment in self.segments[tier]]

    def _open(self) -> None:
        for left in self.folder.glob(".*.partial"):
            left.unlink(missing_ok=True)  # of a writer that was killed
        for tier in TIERS:
            for path in sorted(self.folder.glob(f"{FILE_PREFIX[tier]}-*.parquet")):
                self._number = max(self._number, int(path.stem.rpartition("-")[2]))
                try:
                    self.segments[tier].append(read_segment(path, self.spec, self.lines, self._sources))
                except StoreError as error:
                    path.replace(path.with_suffix(".aside"))
                    self.set_aside += 1
                    log.warning("store-file-set-aside", file=str(path.with_suffix(".aside")), reason=str(error))

    def restore_labels(self, labels: Sequence[WindowLabel]) -> None:
        """Apply labels given before a restart."""
        for label in labels:
            try:
                class_index(label.fault_class, self.spec)
            except TrainingError as error:
                log.warning("label-of-another-spec", label_id=label.label_id, reason=str(error))
                continue
            self._labels.setdefault(label.line, []).append(label)
            for segment in self.segments["labelled"]:
                self._label_rows(label, segment.rows)


def _within(rows: Rows, line: int, first_ns: int, last_ns: int) -> NDArray[np.intp]:
    return np.flatnonzero((rows.line == line) & (rows.start_ns >= first_ns) & (rows.start_ns <= last_ns))
