"""Send one record as many lines. Each copy has rotated phases and shifted times, so that no two lines are equal."""

from __future__ import annotations

import base64
import heapq
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from domains.powerline.spec import power_line_spec
from model.spec import SignalSpec
from stream.contract import NS_PER_MS
from stream.errors import RecordingError
from stream.recordings.retime import is_json, window_head
from stream.recordings.sources import ReplayRecord, Source

STAGGER_NS = 50_000_000
"""Time between copies: some cycles, so that a fault appears on the lines one after another instead of all at once."""
PHASES = "abc"


class FanOut:
    """Source that sends every line ``copies`` times, each under its own name.

    The first copy is the line itself. Copy k is named ``<line>-<k>``, has its phases rotated k − 1 times (a becomes b,
    b becomes c, c becomes a, and labels follow), and comes (k − 1) · 50 ms later. Records that are not windows are sent
    once, unchanged.

    Args:
        source: the source to multiply.
        copies: number of lines made from each line.
        spec: spec of the windows; its channel names give the phases.

    Raises:
        RecordingError: a quantity of the spec lacks a phase; from ``records``: windows are of another spec.
    """

    def __init__(self, source: Source, copies: int, spec: SignalSpec) -> None:
        self._source = source
        self._copies = copies
        self._spec = spec
        self._columns = phase_columns(spec)
        self.topics = source.topics
        self.begin_ns = source.begin_ns

    @property
    def total(self) -> int | None:
        """Number of records, provided that all are windows; None if unknown."""
        return None if self._source.total is None else self._source.total * self._copies

    def records(self) -> Iterator[ReplayRecord]:
        """Yield the records of all lines in time order, provided that the source's are in time order."""
        # Each source record is held once, regardless of how many of its copies are still to be sent.
        waiting: list[tuple[int, int, int, int, ReplayRecord]] = []
        latest_ns = self.begin_ns
        for number, record in enumerate(self._source.records()):
            # The times of a recording may go back, but the order of a line's records must not change.
            latest_ns = max(latest_ns, record.due_ns)
            while waiting and waiting[0][0] < latest_ns:
                yield self._next(waiting)
            copies = 1 if window_head(record.value) is None else self._copies
            heapq.heappush(waiting, (latest_ns, number, 0, copies, record))
        while waiting:
            yield self._next(waiting)

    def _next(self, waiting: list[tuple[int, int, int, int, ReplayRecord]]) -> ReplayRecord:
        due_ns, number, copy, copies, record = waiting[0]
        if copy + 1 < copies:
            heapq.heapreplace(waiting, (due_ns + STAGGER_NS, number, copy + 1, copies, record))
        else:
            heapq.heappop(waiting)
        return self._copy(record, copy) if copy else record

    def _copy(self, record: ReplayRecord, copy: int) -> ReplayRecord:
        by_ns = copy * STAGGER_NS
        times = copy % len(PHASES)
        return msgspec.structs.replace(
            record,
            key=(record.key or b"") + b"-%d" % (copy + 1),
            value=rotated(record.value or b"", times, self._spec, self._columns, by_ns=by_ns),
            timestamp_ms=None if record.timestamp_ms is None else record.timestamp_ms + by_ns // NS_PER_MS,
            due_ns=record.due_ns + by_ns,
        )


def phase_columns(spec: SignalSpec) -> tuple[int, ...]:
    """Return, for every channel, the index of the channel whose values it takes when phases are rotated once.

    Raises:
        RecordingError: a channel belongs to no phase, or its quantity lacks a phase.
    """
    names = spec.channels
    try:
        return tuple(names.index(name[:-1] + PHASES[PHASES.index(name[-1]) - 1]) for name in names)
    except ValueError:
        raise RecordingError(
            f"spec {spec.name!r} has the channels {', '.join(names)}: --lines rotates phases, so every channel name "
            "must end in a, b or c and exist for all three; leave --lines out"
        ) from None


@lru_cache(maxsize=16)
def rotated_classes(spec: SignalSpec, times: int) -> tuple[int | None, ...]:
    """Return, for every class, the class after rotation; None if the spec has no such class.

    Example:
        >>> from model.spec import load_spec
        >>> spec = load_spec("line")
        >>> spec.class_names[rotated_classes(spec, 1)[spec.class_index("CA")]]
        'AB'
    """
    found: list[int | None] = []
    classes = power_line_spec(spec).classes
    for fault in classes:
        phases = {PHASES[(PHASES.index(phase.lower()) + times) % len(PHASES)].upper() for phase in fault.phases}
        matches = [
            index for index, other in enumerate(classes) if other.type == fault.type and set(other.phases) == phases
        ]
        found.append(matches[0] if matches else None)
    return tuple(found)


def rotated(value: bytes, times: int, spec: SignalSpec, columns: Sequence[int], *, by_ns: int = 0) -> bytes:
    """Return a window message with rotated phases and shifted time; all other fields, even unknown ones, are kept.

    If one of its labels has no counterpart, the labels are dropped.

    Args:
        value: the message, in JSON or MessagePack.
        times: number of rotations.
        spec: spec of the windows.
        columns: result of ``phase_columns``.
        by_ns: shift of the time in ns.

    Raises:
        RecordingError: the windows are of another spec.
    """
    as_json = is_json(value)
    body: dict[Any, Any] = msgspec.json.decode(value) if as_json else msgspec.msgpack.decode(value)
    body["start_ns"] += by_ns
    order = np.arange(len(columns))
    for _ in range(times):
        order = order[list(columns)]
    body["data"] = _rotated_data(body, order, spec)
    if labels := body.get("labels"):
        table = rotated_classes(spec, times)
        new = [table[label] for label in labels]
        body["labels"] = None if None in new else new
    return msgspec.json.encode(body) if as_json else msgspec.msgpack.encode(body)


def _rotated_data(body: dict[Any, Any], order: NDArray[np.intp], spec: SignalSpec) -> bytes | str | list[Any]:
    data = body["data"]
    if body.get("spec") != spec.name:
        raise RecordingError(
            f"--lines cannot copy windows of spec {body.get('spec')!r} by spec {spec.name!r}: "
            f"set FAULTLINE_SPEC to the spec of the windows"
        )
    try:
        if isinstance(data, list):
            nested: list[Any] = np.asarray(data)[..., order].tolist()
            return nested
        raw = base64.b64decode(data) if isinstance(data, str) else data
        block = np.frombuffer(raw, "<f4").reshape(-1, *spec.window_shape)[..., order].tobytes()
    except (ValueError, IndexError, TypeError) as error:
        raise RecordingError(
            f"--lines cannot copy windows whose shape is not that of spec {spec.name!r}: {error}; "
            f"set FAULTLINE_SPEC to the spec of the windows"
        ) from None
    return base64.b64encode(block).decode() if isinstance(data, str) else block
