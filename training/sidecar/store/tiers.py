"""The windows of one spec in the store: what is waiting to be written, three tiers of files, and their retention."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import structlog
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.contract import WindowLabel
from training.data.balancing import balanced
from training.errors import StoreError, TrainingError
from training.sidecar.store.labels import apply_verdict, class_index
from training.sidecar.store.limits import Limits
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

Tier = Literal["kept", "marked", "ring"]
TIERS: tuple[Tier, ...] = get_args(Tier)
DAY_NS = 86_400_000_000_000
ROOM = 0.8  # of the limit is left full after a clearing, so that one is rare
MOST_SMALL = 8  # files much smaller than they should be; more are joined
MOST_MARKS = 20  # of a line, for windows that are still to come


class Shelf:
    """Windows of ``spec`` below ``folder``.

    ``kept`` holds labelled windows, ``marked`` those near an event, ``ring`` all others for a while. A window that
    gets its label later is copied to ``kept``; its first copy goes with its file.
    """

    def __init__(self, folder: Path, spec: SignalSpec, limits: Limits) -> None:
        self.folder, self.spec, self.limits = folder, spec, limits
        self.lines, self._sources = Names(), Names()
        self.segments: dict[Tier, list[Segment]] = {tier: [] for tier in TIERS}
        self._waiting: dict[Tier, list[Block]] = {tier: [] for tier in TIERS}
        self._verdicts: dict[str, list[WindowLabel]] = {}
        self._marks: dict[str, list[tuple[int, int]]] = {}
        self._number = 0
        self.set_aside = 0
        self._open()
        self._known = np.sort(np.concatenate([np.empty(0, np.uint64), *(s.rows.key for s in self._all_segments())]))
        self._waiting_keys: set[int] = set()

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
        """Take windows of one line that are not there yet; return how many were new."""
        key = keys_of(line, start_ns, sequence)
        place = np.minimum(np.searchsorted(self._known, key), max(0, len(self._known) - 1))
        new = self._known[place] != key if len(self._known) else np.ones(len(key), bool)
        if len(self._waiting_keys):
            new &= np.array([k not in self._waiting_keys for k in key.tolist()])
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
        for verdict in self._verdicts.get(line, ()):
            if verdict.first_ns <= last_ns and verdict.last_ns >= first_ns:
                self._judge(verdict, rows)
        marked = np.zeros(len(rows), bool)
        for begin, end in self._marks.get(line, ()):
            marked |= (rows.start_ns >= begin) & (rows.start_ns <= end)
        labelled = rows.label != UNLABELLED
        for tier, chosen in zip(TIERS, (labelled, marked & ~labelled, ~marked & ~labelled), strict=True):
            if chosen.any():
                self._put(tier, Block(rows.take(chosen), data[chosen]))
        self._write_if_full()
        return int(new.sum())

    def judge(self, verdict: WindowLabel) -> int:
        """Give a verdict to the windows that are here, and to those still to come; return how many it is about.

        Raises:
            TrainingError: the spec has no such class.
        """
        class_index(verdict.fault_class, self.spec)
        self._verdicts.setdefault(verdict.line, []).append(verdict)
        return self._promote("kept", verdict.line, verdict.first_ns, verdict.last_ns, verdict)

    def mark(self, line: str, first_ns: int, last_ns: int) -> int:
        """Keep windows in a range of starts for longer: somebody may have something to say about them."""
        self._marks[line] = [*self._marks.get(line, [])[1 - MOST_MARKS :], (first_ns, last_ns)]
        return self._promote("marked", line, first_ns, last_ns, None)

    def forget_verdicts(self, gone: set[str]) -> None:
        """Drop verdicts by their id; labels that they gave are written with their windows first."""
        for line, verdicts in list(self._verdicts.items()):
            self._verdicts[line] = [v for v in verdicts if v.label_id not in gone]
        self._rewrite([(segment, np.ones(len(segment.rows), bool)) for segment in self.segments["kept"]])

    def _judge(self, verdict: WindowLabel, rows: Rows) -> None:
        own = rows.line == self.lines.find(verdict.line)
        labels, given = rows.label[own], rows.verdict_ns[own]
        apply_verdict(verdict, class_index(verdict.fault_class, self.spec), rows.start_ns[own], labels, given)
        rows.label[own], rows.verdict_ns[own] = labels, given

    def _promote(self, into: Tier, line: str, first_ns: int, last_ns: int, verdict: WindowLabel | None) -> int:
        """Copy windows of a range from lower tiers into a higher one, labelled by ``verdict``; return how many the
        higher tiers have of it then."""
        code = self.lines.find(line)
        if code is None:
            return 0
        known = np.empty(0, np.uint64)
        for tier in TIERS[: TIERS.index(into) + 1]:
            for rows in (block.rows for block in self._near(tier, first_ns, last_ns)):
                own = _within(rows, code, first_ns, last_ns)
                known = np.concatenate([known, rows.key[own]])
                if verdict is not None and len(own):
                    self._judge(verdict, rows)
        for tier in TIERS[TIERS.index(into) + 1 :]:
            for block in self._near(tier, first_ns, last_ns):
                own = _within(block.rows, code, first_ns, last_ns)
                own = own[~np.isin(block.rows.key[own], known)]
                if not len(own):
                    continue
                copy = Block(block.rows.take(own), block.data(own))
                if verdict is not None:
                    self._judge(verdict, copy.rows)
                self._put(into, copy)
                known = np.concatenate([known, copy.rows.key])
                if isinstance(block, Block):
                    self._waiting[tier].remove(block)
                    rest = np.setdiff1d(np.arange(len(block.rows)), own)
                    self._waiting[tier].append(Block(block.rows.take(rest), block.data(rest)))
        self._write_if_full()
        return len(np.unique(known))

    def _near(self, tier: Tier, first_ns: int, last_ns: int) -> list[Block | Segment]:
        """Where windows that start in a range may be."""
        files = [s for s in self.segments[tier] if s.times_ns[0] <= last_ns and s.times_ns[1] >= first_ns]
        return [*self._waiting[tier], *files]

    # Writing and clearing ------------------------------------------------------------------------------------------

    def _put(self, tier: Tier, block: Block) -> None:
        self._waiting[tier].append(block)
        self._waiting_keys.update(block.rows.key.tolist())

    def _write_if_full(self) -> None:
        if len(self._waiting_keys) >= self.limits.segment_windows:
            self.write()

    def write(self) -> None:
        """Put what waits on the disk.

        Raises:
            StoreError: it cannot be written, and still waits.
        """
        for tier in TIERS:
            self._write(tier, self._waiting[tier])
            self._waiting[tier] = []
            self._join_small(tier)
        self._waiting_keys.clear()

    def clear(self, now_ns: int) -> None:
        """Drop what is too old or too much."""
        for tier in TIERS:
            old_ns = now_ns - round(self.limits.age_s(tier) * 1e9)
            self._drop(tier, [s for s in self.segments[tier] if s.newest_ns < old_ns])
        for tier in ("marked", "ring"):
            by_age = sorted(self.segments[tier], key=lambda s: s.newest_ns)
            too_much = self.bytes(tier) - self.limits.bytes(tier)
            gone = []
            while too_much > 0 and by_age:
                gone.append(by_age.pop(0))
                too_much -= gone[-1].bytes
            self._drop(tier, gone)
        if self.bytes("kept") > self.limits.bytes("kept"):
            self._thin()

    def bytes(self, tier: Tier) -> int:
        """Size of a tier's files."""
        return sum(segment.bytes for segment in self.segments[tier])

    def _thin(self) -> None:
        """Have labelled windows stay evenly by class, then line, then day; verdicts of people are a class apart."""
        segments = self.segments["kept"]
        rows = Rows.joined([segment.rows for segment in segments])
        budget = int(ROOM * len(rows) * self.limits.bytes("kept") / self.bytes("kept"))
        group = rows.label.astype(np.int64) * 2 + (rows.verdict_ns > 0)
        keep = balanced([group, rows.line, rows.start_ns // DAY_NS], rows.start_ns, budget)
        stops = np.cumsum([len(segment.rows) for segment in segments])
        parts = np.split(keep, stops[:-1])
        self._rewrite([(segment, part) for segment, part in zip(segments, parts, strict=True) if not part.all()])
        log.info("store-thinned", spec=self.spec.name, windows=len(rows), left=int(keep.sum()))

    def _rewrite(self, chosen: Sequence[tuple[Segment, NDArray[np.bool_]]]) -> None:
        """Write the chosen windows of kept segments anew, then drop the old files."""
        blocks: list[Block] = []
        for segment, keep in chosen:
            index = np.flatnonzero(keep)
            if len(index):
                blocks.append(Block(segment.rows.take(index), segment.data(index)))
            if sum(len(b.rows) for b in blocks) >= self.limits.segment_windows:
                self._write("kept", blocks)
                blocks = []
        self._write("kept", blocks)
        self._drop("kept", [segment for segment, _ in chosen])

    def _join_small(self, tier: Tier) -> None:
        """Join files that were written early, each a few windows, so that there are never very many."""
        small = [s for s in self.segments[tier] if len(s.rows) < self.limits.segment_windows // 4]
        if len(small) >= MOST_SMALL:
            blocks = [Block(s.rows, s.data(np.arange(len(s.rows)))) for s in small]
            self._write(tier, blocks)
            self._drop(tier, small)

    def _write(self, tier: Tier, blocks: Sequence[Block]) -> None:
        if not sum(len(block.rows) for block in blocks):
            return
        rows = Rows.joined([block.rows for block in blocks])
        self._number += 1
        path = self.folder / f"{tier}-{self._number:012d}.parquet"
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

    def labelled(self) -> tuple[Rows, NDArray[np.float32]]:
        """All labelled windows, each once, by line and time."""
        self.write()
        segments = self.segments["kept"]
        if not segments:
            none = Rows(*(np.empty(0, t) for t in ("i4", "i4", "i8", "i8", "i2", "i8", "i8", "u8")))
            return none, np.empty((0, *self.spec.window_shape), np.float32)
        rows = Rows.joined([s.rows for s in segments])
        data = np.concatenate([s.data(np.arange(len(s.rows))) for s in segments])
        # A crash between writing a file anew and dropping the old one leaves windows twice: the later verdict counts.
        order = np.lexsort((-rows.verdict_ns, rows.key))
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
            for path in sorted(self.folder.glob(f"{tier}-*.parquet")):
                self._number = max(self._number, int(path.stem.rpartition("-")[2]))
                try:
                    self.segments[tier].append(read_segment(path, self.spec, self.lines, self._sources))
                except StoreError as error:
                    path.replace(path.with_suffix(".aside"))
                    self.set_aside += 1
                    log.warning("store-file-set-aside", file=str(path.with_suffix(".aside")), reason=str(error))

    def remember(self, verdicts: Sequence[WindowLabel]) -> None:
        """Take up verdicts given before a restart."""
        for verdict in verdicts:
            try:
                class_index(verdict.fault_class, self.spec)
            except TrainingError as error:
                log.warning("label-of-another-spec", label_id=verdict.label_id, reason=str(error))
                continue
            self._verdicts.setdefault(verdict.line, []).append(verdict)
            for segment in self.segments["kept"]:
                self._judge(verdict, segment.rows)


def _within(rows: Rows, line: int, first_ns: int, last_ns: int) -> NDArray[np.intp]:
    return np.flatnonzero((rows.line == line) & (rows.start_ns >= first_ns) & (rows.start_ns <= last_ns))
