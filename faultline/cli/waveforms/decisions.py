"""Arrange the decisions about a record's channels as rows that a person can check."""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from domains.powerline.waveforms import Record, RecordLine
    from domains.powerline.waveforms.record import Decision
    from domains.powerline.waveforms.signal.event_phasors import SteadyState

NOT_USED = "not used"
MOST_RANGES = 8
"""Ranges of channel numbers above which a merged row is cut."""
CLEAR_ROTATION = 2.0
"""Ratio of positive and negative sequence from which the rotation is certain."""
LEAST_MAGNITUDE = 0.005
"""Magnitude in per unit below which there is no voltage or current."""


@dataclass(frozen=True, slots=True)
class Row:
    """Row of the table: channels by number and name, their use, and the reason."""

    channels: str
    use: str
    reason: str


def rows_of_record(record: Record) -> list[Row]:
    """Return the rows that concern no line alone, such as the mains frequency."""
    return [_row(decision) for decision in _by_line(record.decisions).get("", ())]


def rows_of_line(record: Record, line: RecordLine) -> list[Row]:
    """Return the rows of one line: its channels, its bases, and its steady state before the event."""
    decisions = {name: own for name, own in _by_line(record.decisions).items() if name}
    # A line of several has the name of the file before its own name.
    names = [name for name in decisions if len(record.lines) == 1 or line.name.endswith(f"/{name}")]
    rows = [_row(decision) for decision in (decisions[max(names, key=len)] if names else ())]
    if not any(row.channels for row in rows):
        rows = [*_rows_of_sources(line), *rows]
    if not any(row.reason == line.base_source for row in rows):
        rows.append(Row("", "per unit", line.base_source))
    return [*rows, *_steady_rows(line)]


def _row(decision: Decision) -> Row:
    return Row(" ".join(decision.channels.split()), decision.use.rpartition(": ")[2], decision.reason)


def unused_rows(record: Record) -> list[Row]:
    """Return a row for each reason for which channels are not used."""
    merged: dict[str, list[str]] = {}
    for decision in record.decisions:
        if decision.use == NOT_USED:
            merged.setdefault(decision.reason, []).append(decision.channels)
    names = {channel.number: channel.name for channel in record.channels}
    return [Row(merged_channels(parts, names), NOT_USED, reason) for reason, parts in merged.items()]


def merged_channels(parts: Sequence[str], names: Mapping[int, str]) -> str:
    """Merge lists of channels into one with ranges of numbers, and the first and last name.

    Example:
        >>> merged_channels(["4 5 6 (P Q S)", "7 8 (f df)", "12 (T)"], {4: "P", 12: "T"})
        '4–8 12 (P … T)'
        >>> merged_channels(["4 5 (P Q)"], {4: "P", 5: "Q"})
        '4 5 (P Q)'
    """
    found = [re.match(r"[\d …]*", part).group().split() for part in parts]  # type: ignore[union-attr]
    if len(parts) == 1 or not all(found):
        return "; ".join(parts)
    numbers = [number for own in found for number in own]
    if "…" not in numbers:
        numbers = sorted(set(numbers), key=int)
    ranges = list(_ranges(numbers))
    more = " …" if len(ranges) > MOST_RANGES else ""
    first, last = (names.get(int(number), number) for number in (numbers[0], numbers[-1]))
    return f"{' '.join(ranges[:MOST_RANGES])}{more} ({first} … {last})"


def _ranges(numbers: Sequence[str]) -> Iterator[str]:
    """Yield ``7–12`` for consecutive numbers; ``…`` stands for numbers that are left out."""
    first = last = -1
    for text in [*numbers, ""]:
        number = int(text) if text.isdigit() else -1
        if last >= 0 and number == last + 1:
            last = number
            continue
        if last >= 0:
            yield str(first) if first == last else f"{first}\N{EN DASH}{last}"
        first = last = number
        if text == "…":
            yield text


def _by_line(decisions: Sequence[Decision]) -> dict[str, list[Decision]]:
    """Return the decisions about used channels by the name of their line; by "" if they concern the record."""
    groups: dict[str, list[Decision]] = {}
    for decision in decisions:
        if decision.use != NOT_USED:
            groups.setdefault(decision.use.rpartition(": ")[0], []).append(decision)
    return groups


def _rows_of_sources(line: RecordLine) -> Iterator[Row]:
    """Yield the channels of a line that the reader did not choose itself."""
    for letter in "iv":
        own = {role: source.partition(" ") for role, source in line.sources.items() if role[0] == letter}
        if own:
            numbers = " ".join(number for number, _, _ in own.values())
            names = " ".join(name for _, _, name in own.values())
            yield Row(f"{numbers} ({names})", " ".join(own), "assigned by --channels, --mapping or the format itself")


def _steady_rows(line: RecordLine) -> Iterator[Row]:
    from domains.powerline.waveforms.signal.event_phasors import state_before

    state = state_before(line.samples, line.segments, line.frequency_hz)
    if state is not None:
        measured = ", ".join(_in_words(state))
        when = f"{state.start_s:.3f} to {state.stop_s:.3f} s"
        yield Row("", "steady state", f"{when}: {measured}")


def _in_words(state: SteadyState) -> Iterator[str]:
    """Yield magnitude and rotation of voltages and currents, and the angle between them."""
    turning: list[tuple[str, complex]] = []
    for what, (_, positive, negative) in (("voltages", state.voltages), ("currents", state.currents)):
        rotation, value = ("ABC", positive) if abs(positive) >= abs(negative) else ("ACB", negative)
        if abs(value) < LEAST_MAGNITUDE:
            yield f"no {what}"
        elif abs(value) < CLEAR_ROTATION * min(abs(positive), abs(negative)):
            yield f"unbalanced {what}"
        else:
            yield f"{what} {abs(value):.2f} p.u. in rotation {rotation}"
            turning.append((rotation, value))
    if len(turning) == 2 and turning[0][0] == turning[1][0]:
        degrees = round(math.degrees(cmath.phase(turning[0][1] / turning[1][1])))
        yield f"{'lagging' if degrees >= 0 else 'leading'} by {abs(degrees)}°"
