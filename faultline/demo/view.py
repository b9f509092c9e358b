"""Show a demo while it runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from faultline.demo.audit import DemoWatch, SeenEvent, SimulatedEvent
from model.spec import SignalSpec

ROWS = 14
PLAIN_STATUS_EVERY_S = 5.0
SETTLE_S = 1.0
"""Seconds to wait before an event is shown, since it may be read before the windows that caused it."""
COLOURS = {"onset": "bold red", "update": "yellow", "clear": "green"}


@dataclass(frozen=True)
class Injected:
    """Name of what the simulator injected at the time of an event, and whether the event is correct."""

    name: str
    right: bool


def injected_at(watch: DemoWatch, spec: SignalSpec, seen: SeenEvent, simulated: list[SimulatedEvent]) -> Injected:
    """Return the class that was injected, or the non-fault that the event coincides with."""
    truth = watch.truth_of(seen.event)
    merged = spec.equivalent_indices()
    name = spec.class_names[truth]
    if truth == spec.none_index:
        return Injected(watch.disturbance_of(seen.event, simulated) or name, False)
    known = seen.event.fault_class in spec.class_names
    return Injected(name, known and merged[spec.class_index(seen.event.fault_class)] == merged[truth])


class Throughput:
    """Rate of classified windows over the last ``span_s`` seconds."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic, span_s: float = 3.0) -> None:
        self._clock_s = clock_s
        self._span_s = span_s
        self._points: list[tuple[float, int]] = []

    def update(self, windows: int) -> float:
        """Add the current count of windows; return the rate in windows per second."""
        now_s = self._clock_s()
        self._points = [*(point for point in self._points if now_s - point[0] <= self._span_s), (now_s, windows)]
        (first_s, first), (last_s, last) = self._points[0], self._points[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0


def status(watch: DemoWatch, windows_per_s: float, elapsed_s: float, total_s: float) -> tuple[str, str]:
    """Return two lines of text: the counters of traffic and the counters of faults."""
    score, p99 = watch.score(), watch.live_p99_ms()
    return (
        f"{min(elapsed_s, total_s):3.0f} of {total_s:.0f} s | {watch.truth.lines} lines | "
        f"{watch.deliveries.answered_windows:,} windows classified, {windows_per_s:,.0f}/s, "
        f"p99 {'?' if p99 is None else f'{p99:.0f}'} ms",
        f"faults {score.injected}, correct {score.correct}, "
        f"wrong {score.wrong}, missed {score.missed}, false alarms {score.false_alarms}",
    )


class View(Protocol):
    """Output of a demo."""

    def __enter__(self) -> Self:
        """Start the output."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the output."""

    def update(self, elapsed_s: float) -> None:
        """Show the current state."""


class _Base:
    def __init__(
        self, console: Console, watch: DemoWatch, spec: SignalSpec, simulated: list[SimulatedEvent], total_s: float
    ) -> None:
        self._console, self._watch, self._spec = console, watch, spec
        self._simulated, self._total_s = simulated, total_s
        self._throughput = Throughput()

    def _status(self, elapsed_s: float) -> tuple[str, str]:
        rate = self._throughput.update(self._watch.deliveries.answered_windows)
        return status(self._watch, rate, elapsed_s, self._total_s)

    def _row(self, seen: SeenEvent) -> tuple[Text | str, ...]:
        event, injected = seen.event, injected_at(self._watch, self._spec, seen, self._simulated)
        lasted = "" if event.duration_s is None else f"{event.duration_s * 1000:.0f} ms"
        return (
            f"{self._watch.seconds_into(event.detection_ns):6.2f} s",
            event.line,
            Text(event.state, COLOURS[event.state]),
            event.fault_class,
            f"{event.confidence:.1%}" if event.state != "clear" else lasted,
            Text(injected.name, "green" if injected.right else "bold red"),
        )


class LiveView(_Base):
    """Table on a terminal that is redrawn in place."""

    def __enter__(self) -> Self:
        # Automatic refresh is off: its thread would run while the demo forks its children.
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def update(self, elapsed_s: float) -> None:
        """Redraw the table."""
        table = Table("time", "line", "event", "class", "confidence", "injected", title="faults, newest last")
        # Events are sorted by time, since those of different topics arrive in any order.
        for seen in sorted(self._watch.recent, key=lambda seen: seen.event.detection_ns)[-ROWS:]:
            table.add_row(*self._row(seen))
        self._live.update(Group(table, Text("\n".join(self._status(elapsed_s)))), refresh=True)


class PlainView(_Base):
    """One line of text per onset and update, and one line of counters every 5 s."""

    def __enter__(self) -> Self:
        self._status_at_s = 0.0
        self._read_at_s: dict[str, float] = {}
        self._printed: set[str] = set()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._print_events(read_before_s=math.inf)

    def update(self, elapsed_s: float) -> None:
        """Print the new events, and the counters if they are due."""
        self._print_events(read_before_s=time.monotonic() - SETTLE_S)
        counters = self._status(elapsed_s)
        if elapsed_s - self._status_at_s >= PLAIN_STATUS_EVERY_S:
            self._status_at_s = elapsed_s
            print(" | ".join(counters), flush=True)

    def _print_events(self, read_before_s: float) -> None:
        now_s = time.monotonic()
        due = [
            seen
            for event_id, seen in self._watch.events.items()
            if event_id not in self._printed and self._read_at_s.setdefault(event_id, now_s) <= read_before_s
        ]
        for seen in sorted(due, key=lambda seen: seen.event.detection_ns):
            self._printed.add(seen.event.event_id)
            if seen.event.state != "clear":
                at, line, state, fault_class, confidence, injected = (str(cell) for cell in self._row(seen))
                print(f"{at}  {line}  {state:<6}  {fault_class:<5} {confidence:>6}  injected {injected}", flush=True)


ViewFactory = Callable[[Console, DemoWatch, SignalSpec, list[SimulatedEvent], float], View]
"""Function that makes a view from console, watch, spec, simulated events and the length of the demo in seconds."""


def view_for(
    console: Console, watch: DemoWatch, spec: SignalSpec, simulated: list[SimulatedEvent], total_s: float
) -> View:
    """Return a live view for a terminal, or a plain view for anything else."""
    kind = LiveView if console.is_terminal else PlainView
    return kind(console, watch, spec, simulated, total_s)
