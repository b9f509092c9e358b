"""Manage the windows of one spec in the store: windows not yet written, three tiers of blocks, and retention."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any, Self

import numpy as np
import structlog
from numpy.typing import NDArray
from pydantic import Field

from model.frozen import FrozenModel
from model.spec import SignalSpec
from stream.contract import NS_PER_S, WindowLabel
from stream.settings import Settings
from training.data.balancing import balanced
from training.data.feedback import MAX_SEQUENCES
from training.data.sequences import Sequences
from training.data.windows import Windows
from training.errors import TrainingError
from training.sidecar.store.blocks import (
    MAX_BLOCK_NS,
    UNLABELLED,
    Arrival,
    Block,
    Columns,
    decode,
    decode_times,
    encode,
)
from training.sidecar.store.database import PAGE_BYTES, Database
from training.sidecar.store.labels import apply_label, class_index, given_ns
from training.sidecar.store.stretches import feedback_sequences, feedback_windows

log = structlog.get_logger(__name__)

MIB = 1024 * 1024
DAY_S = 86_400.0
DAY_NS = 86_400 * NS_PER_S
TIERS = ("labelled", "near_event", "recent")
LABELLED, NEAR_EVENT, RECENT = range(3)  # positions in TIERS, which are written to disk
NEVER = -(2**63)
FILL_AFTER_REDUCTION = 0.8  # share of the limit that a reduction leaves; it is below 1, so that reductions are rare
MAX_EVENT_RANGES = 20  # number of ranges kept per line for windows that have not arrived yet
# SQLite keeps a row of up to MAX_INLINE_BYTES in the table's own page; a longer row gets overflow pages.
MAX_INLINE_BYTES, ROW_BYTES = 3900, 150

IN_RANGE = "spec=? AND line=? AND first_ns BETWEEN ? AND ? AND last_ns>=?"
COLUMNS = "source, tier, label, operator_ns, added_ns, windows, data"
INSERT = (
    f"INSERT INTO block(spec, line, first_ns, last_ns, size, {COLUMNS}) "  # noqa: S608
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
DELETE = "DELETE FROM block WHERE id=?"


class StoreLimits(FrozenModel):
    """Limits of the store on disk, per spec. Age counts from the arrival of a window, not from its own time."""

    labelled_bytes: int = Field(
        256 * MIB, ge=1, description="Size of labelled windows, bytes: some 350,000 of 32 x 6 values."
    )
    labelled_s: float = Field(
        365 * DAY_S, gt=0, description="Age of labelled windows, seconds: a year, since labelled faults are rare."
    )
    near_event_bytes: int = Field(128 * MIB, ge=1, description="Size of unlabelled windows near an event, bytes.")
    near_event_s: float = Field(
        30 * DAY_S, gt=0, description="Age of windows near an event, seconds: as long as events stay on their topics."
    )
    recent_bytes: int = Field(
        256 * MIB, ge=1, description="Size of all other unlabelled windows, bytes; 25 lines send 3.8 MB per second."
    )
    recent_s: float = Field(
        DAY_S, gt=0, description="Age of all other unlabelled windows, seconds: as long as they stay on their topic."
    )
    pending_windows: int = Field(
        8192, ge=1, description="Number of windows in memory, about 6 MB, at which they are written to disk."
    )
    context_windows: int = Field(
        0,
        ge=0,
        description="Number of windows kept before a labelled one or an event, for a network with a memory; they count "
        "towards the size of their tier.",
    )

    @classmethod
    def from_settings(cls, settings: Settings, context_windows: int = 0) -> Self:
        """Return the limits set by the settings.

        Args:
            settings: settings of the sidecar.
            context_windows: number of windows kept before a labelled one, see ``stretches.context_windows``.
        """
        return cls(
            labelled_bytes=settings.store_labelled_mb * MIB,
            labelled_s=settings.store_labelled_days * DAY_S,
            near_event_bytes=settings.store_event_mb * MIB,
            near_event_s=settings.store_event_days * DAY_S,
            recent_bytes=settings.store_waiting_mb * MIB,
            recent_s=settings.store_waiting_hours * 3600,
            context_windows=context_windows,
        )

    def of(self, tier: int) -> tuple[int, float]:
        """Return the largest size of a tier in bytes, and the highest age of its windows in seconds."""
        return (
            (self.labelled_bytes, self.labelled_s),
            (self.near_event_bytes, self.near_event_s),
            (self.recent_bytes, self.recent_s),
        )[tier]


@dataclass(eq=False, slots=True)
class _Line:
    """In-memory state of one line; ``keys`` are the keys of ``pending``, None until they are needed."""

    newest_ns: int = NEVER
    labels: dict[str, WindowLabel] = field(default_factory=dict)
    event_ranges: list[tuple[int, int]] = field(default_factory=list)
    pending: list[Arrival] = field(default_factory=list)
    keys: set[tuple[int, int]] | None = None

    def pending_keys(self) -> set[tuple[int, int]]:
        """Return start time and sequence number of the windows in memory."""
        if self.keys is None:
            self.keys = {key for arrival in self.pending for key in arrival.ids()}
        return self.keys


class TieredStore:
    """Store the windows of ``spec`` in ``database``, in three tiers.

    Tier ``labelled`` holds labelled windows and the unlabelled windows before them that are their context,
    ``near_event`` unlabelled windows near an event, and ``recent`` all other windows for a limited time. A window that
    is labelled later moves to ``labelled`` with its context, for which their blocks are divided.
    ``write`` and ``apply`` must run in a transaction of the caller.
    """

    def __init__(self, database: Database, spec: SignalSpec, limits: StoreLimits) -> None:
        self.spec, self.limits, self._database = spec, limits, database
        self._key = _key_of(spec)
        self._context_ns = round(limits.context_windows * spec.hop * NS_PER_S / spec.rate_hz)
        self._lines: dict[str, _Line] = {}
        self._promotions: list[tuple[str, int, int]] = []
        self.pending = 0
        with database.transaction():
            # This replaces an existing row: the latest definition of a spec is the one in use.
            database.rows("INSERT OR REPLACE INTO spec VALUES (?, ?)", self._key, spec.model_dump_json())
        newest = "SELECT line, max(last_ns) FROM block WHERE spec=? GROUP BY line"
        for name, last_ns in database.each(newest, self._key):
            self._line(name).newest_ns = last_ns

    def _line(self, name: str) -> _Line:
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = _Line()
        return line

    # Arrivals ------------------------------------------------------------------------------------------------------

    def add(self, name: str, arrival: Arrival) -> int:
        """Hold the new windows of a line in memory; return their number."""
        count = len(arrival.start_ns)
        if not count:
            return 0
        line, starts = self._line(name), arrival.start_ns
        last_ns = int(starts[-1])
        if starts[0] <= line.newest_ns or (count > 1 and not (starts[1:] > starts[:-1]).all()):
            first_ns, last_ns = int(starts.min()), int(starts.max())
            known, pending, new = self._stored_keys(name, first_ns, last_ns), line.pending_keys(), []
            for place, key in enumerate(arrival.ids()):
                if key not in known and key not in pending:
                    pending.add(key)
                    new.append(place)
            if len(new) < count:
                arrival, count = arrival.take(np.array(new, np.intp)), len(new)
            if not count:
                return 0
        elif line.keys is not None:
            line.keys.update(arrival.ids())
        line.newest_ns = max(line.newest_ns, last_ns)
        line.pending.append(arrival)
        self.pending += count
        return count

    def _stored_keys(self, name: str, first_ns: int, last_ns: int) -> set[tuple[int, int]]:
        """Return start time and sequence number of the windows in the database that start in a range."""
        keys: set[tuple[int, int]] = set()
        query = f"SELECT windows, data FROM block WHERE {IN_RANGE}"  # noqa: S608
        for count, data in self._database.each(query, *self._range(name, first_ns, last_ns)):
            try:
                starts, numbers = decode_times(data, count)
            except ValueError:
                continue  # a damaged block is dropped when its samples are read
            own = (starts >= first_ns) & (starts <= last_ns)
            keys.update(zip(starts[own].tolist(), numbers[own].tolist(), strict=True))
        return keys

    def _range(self, name: str, first_ns: int, last_ns: int) -> tuple[Any, ...]:
        return self._key, name, max(NEVER, int(first_ns) - MAX_BLOCK_NS), int(last_ns), int(first_ns)

    def keep_near_event(self, name: str, first_ns: int, last_ns: int) -> int:
        """Move windows that start in a range to tier near_event, since an operator may label them; return their number.

        The context of the range's first window moves as well and is counted. Windows in the database move with the next
        ``write``.
        """
        line, first_ns = self._line(name), first_ns - self._context_ns
        line.event_ranges = [*line.event_ranges[1 - MAX_EVENT_RANGES :], (first_ns, last_ns)]
        self._promotions.append((name, first_ns, last_ns))
        pending = sum(first_ns <= start_ns <= last_ns for start_ns, _ in line.pending_keys())
        return pending + len(self._stored_keys(name, first_ns, last_ns))

    def remember_label(self, label: WindowLabel) -> bool:
        """Keep a label for windows that arrive later; log a warning and return False if the spec lacks its class."""
        try:
            class_index(label.fault_class, self.spec)
        except TrainingError as error:
            log.warning("label-of-another-spec", label_id=label.label_id, reason=str(error))
            return False
        self._line(label.line).labels[label.label_id] = label
        return True

    def forget_labels(self, gone: set[str]) -> None:
        """Drop labels by their ids; windows that were labelled by them stay labelled."""
        for line in self._lines.values():
            for name in gone & line.labels.keys():
                del line.labels[name]

    # Writing and clearing ------------------------------------------------------------------------------------------

    def write(self) -> None:
        """Write the windows in memory and move those near events; ``written`` then drops them from memory."""
        for name, line in self._lines.items():
            if line.pending:
                columns = self._labelled_columns(line)
                self._database.run_many(INSERT, [self._row(name, block) for block in columns.blocks()])
                labelled_ns = columns.start_ns[columns.label != UNLABELLED]
                if self._context_ns and len(labelled_ns):
                    self._keep_context(name, labelled_ns)
        for name, first_ns, last_ns in self._promotions:
            self._promote(NEAR_EVENT, name, first_ns, last_ns)

    def written(self) -> None:
        """Drop the written windows from memory; call it after the transaction is committed."""
        for line in self._lines.values():
            line.pending, line.keys = [], None
        self._promotions, self.pending = [], 0

    def _labelled_columns(self, line: _Line) -> Columns:
        """Return the windows in memory with operators' labels applied and their tiers set."""
        columns = Columns(line.pending)
        starts = columns.start_ns
        for label in line.labels.values():
            if label.first_ns <= starts[-1] and label.last_ns >= starts[0]:
                index = class_index(label.fault_class, self.spec)
                apply_label(label, index, starts, columns.label, columns.operator_ns)
        for first_ns, last_ns in line.event_ranges:
            own = (starts >= first_ns) & (starts <= last_ns)
            columns.tier[own] = np.minimum(columns.tier[own], NEAR_EVENT)
        columns.tier[columns.label != UNLABELLED] = LABELLED
        return columns

    def _keep_context(self, name: str, labelled_ns: NDArray[np.int64]) -> None:
        """Move the context of labelled windows, whose start times ascend, to their tier."""
        apart = np.flatnonzero(np.diff(labelled_ns) > self._context_ns)
        firsts, lasts = labelled_ns[np.r_[0, apart + 1]], labelled_ns[np.r_[apart, len(labelled_ns) - 1]]
        for first_ns, last_ns in zip(firsts.tolist(), lasts.tolist(), strict=True):
            self._promote(LABELLED, name, first_ns - self._context_ns, last_ns)

    def _row(self, name: str, block: Block) -> tuple[Any, ...]:
        data = encode(block, self.spec)
        size = ROW_BYTES + len(data)
        if len(data) > MAX_INLINE_BYTES:
            size = (len(data) // (PAGE_BYTES - 4) + 1) * PAGE_BYTES
        about = block.source, block.tier, block.label, block.operator_ns, block.added_ns, len(block), data
        return self._key, name, int(block.start_ns.min()), int(block.start_ns.max()), size, *about

    def apply(self, label: WindowLabel) -> int:
        """Apply a label to the windows that it covers; return the number of those in the database."""
        if not self.remember_label(label):
            return 0
        found = self._promote(LABELLED, label.line, label.first_ns, label.last_ns, label)
        if found and self._context_ns:
            self._promote(LABELLED, label.line, label.first_ns - self._context_ns, label.first_ns - 1)
        return found

    def _promote(self, tier: int, name: str, first_ns: int, last_ns: int, label: WindowLabel | None = None) -> int:
        """Move stored windows of a range from lower tiers to ``tier``, and apply ``label``, if any, to the whole range.

        Blocks that are partly in the range are divided. Return the number of windows to move or to label.
        """
        query = f"SELECT id, {COLUMNS} FROM block WHERE {IN_RANGE} AND tier>? ORDER BY id"  # noqa: S608
        above, found = (tier if label is None else -1), 0
        for number, *row in self._database.rows(query, *self._range(name, first_ns, last_ns), above):
            block = self._block(number, row)
            if block is None:
                continue
            own = (block.start_ns >= first_ns) & (block.start_ns <= last_ns)
            found += int(own.sum())
            moved = replace(block, tier=min(tier, block.tier))
            if label is not None and given_ns(label) >= block.operator_ns:
                moved = replace(moved, label=class_index(label.fault_class, self.spec), operator_ns=given_ns(label))
            if own.any() and moved != block:
                edges = [0, *(np.flatnonzero(np.diff(own)) + 1).tolist(), len(own)]
                self._replace(
                    number, name, [(moved if own[a] else block).take(slice(a, b)) for a, b in pairwise(edges)]
                )
        return found

    def _replace(self, number: int, name: str, blocks: Sequence[Block]) -> None:
        self._database.rows(DELETE, number)
        self._database.run_many(INSERT, [self._row(name, block) for block in blocks])

    def _block(self, number: int, row: Sequence[Any]) -> Block | None:
        """Return the block of a row; if its bytes are damaged, delete the row, log a warning and return None."""
        source, tier, label, operator_ns, added_ns, count, data = row
        try:
            return Block(source, tier, label, operator_ns, added_ns, *decode(data, count, self.spec))
        except ValueError as error:
            log.warning("store-block-dropped", spec=self.spec.name, windows_lost=count, reason=str(error))
            self._database.rows(DELETE, number)
            return None

    def enforce_limits(self, now_ns: int) -> None:
        """Delete the windows beyond the limits of age and size."""
        for tier in range(len(TIERS)):
            most_bytes, most_s = self.limits.of(tier)
            # Windows of earlier definitions of a spec are no longer read; they too are deleted by age.
            too_old = "DELETE FROM block WHERE spec IN (SELECT key FROM spec) AND tier=? AND added_ns<?"
            self._database.rows(too_old, tier, now_ns - round(most_s * NS_PER_S))
            excess = self._bytes(tier) - most_bytes
            if excess > 0 and tier == LABELLED:
                self._reduce_labelled()
            elif excess > 0:
                self._drop_oldest(tier, excess)

    def _drop_oldest(self, tier: int, excess: int) -> None:
        gone = []
        oldest = "SELECT id, size FROM block WHERE spec=? AND tier=? ORDER BY added_ns"
        for number, size in self._database.each(oldest, self._key, tier):
            gone.append((number,))
            excess -= size
            if excess <= 0:
                break
        self._database.run_many(DELETE, gone)

    def _reduce_labelled(self) -> None:
        """Delete labelled windows evenly by class, line and day; windows labelled by operators are separate classes.

        Context belongs to the class of the windows that follow it; it is older than they are, so it leaves before them.
        """
        query = (
            "SELECT id, line, label, operator_ns>0, first_ns, last_ns, windows FROM block "
            "WHERE spec=? AND tier=? ORDER BY id"
        )
        numbers, names, *others = zip(*self._database.rows(query, self._key, LABELLED), strict=True)
        label, by_operator, first_ns, last_ns, count = np.array(others, np.int64)
        line = np.unique(names, return_inverse=True)[1]
        label, by_operator = _following_label(line, first_ns, label, by_operator)
        own = np.repeat(np.arange(len(count)), count)
        place = np.arange(len(own)) - np.repeat(np.cumsum(count) - count, count)
        # Grouping by day and ordering by age need no exact times: assume that a block's windows are evenly spaced.
        start_ns = first_ns[own] + place * ((last_ns - first_ns) // np.maximum(1, count - 1))[own]
        budget = int(FILL_AFTER_REDUCTION * len(own) * self.limits.labelled_bytes / self._bytes(LABELLED))
        keep = balanced([(label * 2 + by_operator)[own], line[own], start_ns // DAY_NS], start_ns, budget)
        left = np.bincount(own, keep, len(count)).astype(int)
        self._database.run_many(DELETE, [(numbers[k],) for k in np.flatnonzero(left == 0)])
        for k in np.flatnonzero((left > 0) & (left < count)):
            ((number, *row),) = self._database.rows(f"SELECT id, {COLUMNS} FROM block WHERE id=?", numbers[k])  # noqa: S608
            block = self._block(number, row)
            if block is not None:
                self._replace(number, names[k], [block.take(keep[own == k])])
        log.info("store-reduced", spec=self.spec.name, windows=len(own), left=int(keep.sum()))

    # Reading -------------------------------------------------------------------------------------------------------

    def labelled_windows(self) -> Windows:
        """Return the labelled windows in the database, ordered by line and time, with weights and episodes."""
        return feedback_windows(self._labelled_lines(), self.spec)

    def labelled_sequences(self, steps: int) -> Sequences:
        """Return the labelled windows in the database with their context as sequences of ``steps`` windows."""
        return feedback_sequences(self._labelled_lines(), self.spec, steps, MAX_SEQUENCES)

    def _labelled_lines(self) -> Iterator[tuple[str, list[Block]]]:
        """Yield name and blocks of every line that has labelled windows, in order of the names."""
        # "+tier" keeps SQLite from using the index of tiers: in a snapshot all blocks are labelled, and the index of
        # times gives them in order.
        query = f"SELECT line, id, {COLUMNS} FROM block WHERE spec=? AND +tier=? ORDER BY line, first_ns"  # noqa: S608
        for name, rows in groupby(self._database.each(query, self._key, LABELLED), itemgetter(0)):
            found = [self._block(number, row) for _, number, *row in rows]
            blocks = [block for block in found if block is not None]
            if any(block.label != UNLABELLED for block in blocks):
                yield name, blocks

    def counts(self) -> list[tuple[int, int, bool, int, int]]:
        """Return rows of tier, label, whether an operator set the label, number of windows, and bytes."""
        query = "SELECT tier, label, by_operator, windows, size FROM total WHERE spec=?"
        return [
            (tier, label, bool(given), *sums) for tier, label, given, *sums in self._database.rows(query, self._key)
        ]

    def _bytes(self, tier: int) -> int:
        query = "SELECT coalesce(sum(size), 0) FROM total WHERE spec=? AND tier=?"
        return int(self._database.rows(query, self._key, tier)[0][0])

    @property
    def lines(self) -> int:
        """Return the number of lines with windows."""
        return sum(line.newest_ns != NEVER for line in self._lines.values())


def _key_of(spec: SignalSpec) -> str:
    """Return a short text that is equal for specs whose samples and labels have the same meaning."""
    about = [spec.channels, spec.samples, spec.hop, spec.period_samples, spec.class_names]
    return f"{spec.name}:{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:8]}"


def _following_label(
    line: NDArray[np.intp], first_ns: NDArray[np.int64], label: NDArray[np.int64], by_operator: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return label and origin of the label of every block (n,); an unlabelled block has those of the line's next one.

    A block without any labelled block behind it stays unlabelled.
    """
    order = np.lexsort((first_ns, line))
    source = np.arange(len(line))
    following, following_line = -1, -1
    for k in order[::-1].tolist():
        if label[k] != UNLABELLED:
            following, following_line = k, line[k]
        elif following_line == line[k]:
            source[k] = following
    return label[source], by_operator[source]
