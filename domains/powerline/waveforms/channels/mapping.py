"""Assign channels to lines: pair sets of phases to bays, or follow the user's mapping.

A doubtful assignment is not made and is reported as a finding.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from domains.powerline.waveforms.channels.liveness import SetState
from domains.powerline.waveforms.channels.naming import PhaseSet, kind_of
from domains.powerline.waveforms.channels.pairing import Pair, paired
from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.mapping_file import read_mapping
from domains.powerline.waveforms.record import (
    CHANNELS,
    Decision,
    Finding,
    RawChannel,
    RawRecord,
    ReadOptions,
    channels_argument,
)
from domains.powerline.waveforms.signal.assembly import OPPOSITE, ROLES
from domains.powerline.waveforms.units import channel_unit

MAX_NAME = 100
"""Number of bytes of a line's name and of the file's name before it; both stay below the contract's 255 bytes."""
MAX_LISTED = 12
PAIRS = ("vab", "vbc", "vca")
_QUOTED = r"""'(?P<single>(?:[^']|'')*)'|"(?P<double>(?:[^"]|"")*)"|"""
_LINE_NAME = re.compile(rf"""\s*(?:{_QUOTED}(?P<bare>(?:[^:;="'][^:;=]*)?))\s*:""")
_ENTRY = re.compile(rf"[\s,]*(?P<role>[A-Za-z]\w*)\s*=\s*(?:{_QUOTED}(?P<bare>[^\s,;]+))")
_END = re.compile(r"[\s,]*(;|\Z)")


@dataclass(frozen=True, slots=True)
class Bay:
    """Channels of one line: the index of the channel for each role of ``assembly.ROLES`` that the record has.

    ``alternatives`` are the roles with other voltages, if the record does not show which ones belong to the line.
    """

    name: str
    roles: Mapping[str, int]
    alternatives: tuple[Mapping[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """Lines of a record, the reasons for which channels are used or not, and findings about doubtful channels."""

    bays: tuple[Bay, ...]
    decisions: tuple[Decision, ...] = ()
    findings: tuple[Finding, ...] = ()


def lines_of(states: Sequence[SetState], unused: Mapping[int, str], raw: RawRecord) -> Layout:
    """Return the lines that the sets of a record form.

    Args:
        states: all sets of channels.
        unused: reasons for which channels are in no set, by index.
        raw: the record.
    """
    pairs = paired([state for state in states if not state.dead])
    bays = _named([_bay(pair, name) for pair, name in zip(pairs, _names_of(pairs), strict=True)])
    decisions: list[Decision] = []
    findings: list[Finding] = []
    for bay, pair in zip(bays, pairs, strict=True):
        decisions += _decisions_of(bay, pair, raw)
        findings += _findings_of(bay, pair, raw)
    findings += _shared(pairs, raw)
    findings += _absent(bays, pairs)
    used = {id(found) for pair in pairs for found in (pair.current, pair.voltage, *pair.alternatives) if found}
    for state in states:
        if id(state.found) not in used:
            reason = state.dead or "no currents belong to them"
            decisions.append(Decision(listed(raw.channels, state.found.channels), "not used", reason))
    neutrals = {state.found.residual: "residual value of a set with all its phases" for state in states}
    unused = {**unused, **{index: reason for index, reason in neutrals.items() if index is not None}}
    decisions += _unused_decisions(raw.channels, unused, {index for bay in bays for index in bay.roles.values()})
    return Layout(tuple(bays), tuple(decisions), tuple(dict.fromkeys(findings)))


def _names_of(pairs: Sequence[Pair]) -> list[str]:
    """Return a name for each line: its circuit, or its label where several lines have the same circuit."""
    firsts = [found for pair in pairs if (found := pair.current or pair.voltage) is not None]
    circuits = Counter(found.circuit for found in firsts)
    labels = Counter(found.label for found in firsts if circuits[found.circuit] > 1)
    names = []
    for found in firsts:
        name = found.circuit or found.label
        if circuits[found.circuit] > 1 and found.label:
            name = found.label if labels[found.label] == 1 else f"{found.circuit} {found.label}".strip()
        names.append(name)
    return names


def _bay(pair: Pair, name: str) -> Bay:
    roles = _roles(pair.current)
    return Bay(
        name=name,
        roles=roles | _roles(pair.voltage),
        alternatives=tuple(roles | _roles(other) for other in pair.alternatives),
    )


def _roles(found: PhaseSet | None) -> dict[str, int]:
    if found is None:
        return {}
    names: tuple[str, ...] = CHANNELS[:3] if found.kind == "current" else CHANNELS[3:]
    if found.pairs:
        names = tuple(OPPOSITE) if found.reversed else PAIRS
    roles = {name: index for name, index in zip(names, found.channels, strict=True) if index is not None}
    if found.residual is not None and (len(roles) < 3 or found.pairs):
        letter = "i" if found.kind == "current" else "v"
        roles[f"{letter}0" if found.residual_is_third else f"{letter}n"] = found.residual
    return roles


def _decisions_of(bay: Bay, pair: Pair, raw: RawRecord) -> Iterator[Decision]:
    for found, why in ((pair.current, ""), (pair.voltage, pair.why)):
        if found is not None:
            reason = "; ".join(part for part in (found.why, why) if part)
            yield Decision(listed(raw.channels, found.channels), f"{bay.name}: {' '.join(_roles(found))}", reason)
    if pair.voltage is None:
        yield Decision("", f"{bay.name}: no voltages", pair.why)
    for other in pair.alternatives:
        reason = "neither names nor angles show which voltages belong to the line: it is judged with each"
        yield Decision(listed(raw.channels, other.channels), f"{bay.name}: perhaps {' '.join(_roles(other))}", reason)


def _findings_of(bay: Bay, pair: Pair, raw: RawRecord) -> Iterator[Finding]:
    if pair.alternatives:
        options = (Bay(bay.name, roles) for roles in (bay.roles, *bay.alternatives))
        choices = " or ".join(channels_argument([channels_option(option, raw.channels)]) for option in options)
        message = (
            "the record does not show which voltages belong to the line: it is judged with each; "
            f"assign them with {choices}"
        )
        yield Finding("warning", "ambiguous-voltages", message, bay.name)


def _absent(bays: Sequence[Bay], pairs: Sequence[Pair]) -> Iterator[Finding]:
    """Yield a finding for each line without currents or voltages, or one warning if no line has them."""
    for kind in ("current", "voltage"):
        lines = [
            (bay.name, pair.why)
            for bay, pair in zip(bays, pairs, strict=True)
            if (pair.current if kind == "current" else pair.voltage) is None
        ]
        # Currents of the other end of a line are judged alone.
        level: Literal["note", "warning"] = "warning" if len(lines) == len(pairs) or kind == "current" else "note"
        if len(lines) == len(pairs) > 1:
            lines = [("", why) for _, why in lines]
        for where, why in dict.fromkeys(lines):
            yield Finding(level, f"no-{kind}s", f"{why}: all {kind}s are assumed to be zero", where)


def _shared(pairs: Sequence[Pair], raw: RawRecord) -> Iterator[Finding]:
    """Yield a note for each set of voltages that serves several lines."""
    counts = Counter(pair.voltage.channels for pair in pairs if pair.voltage is not None)
    for channels, count in counts.items():
        if count > 1:
            message = f"{count} lines share the voltages {listed(raw.channels, channels)}"
            yield Finding("note", "shared-voltages", message)


def _unused_decisions(
    channels: Sequence[RawChannel], unused: Mapping[int, str], used: Collection[int]
) -> Iterator[Decision]:
    """Yield a decision for each run of unused channels with the same reason."""
    left = [index for index in sorted(unused) if index not in used]
    for reason, run in itertools.groupby(left, key=lambda index: unused[index]):
        yield Decision(listed(channels, list(run)), "not used", reason)


def listed(channels: Sequence[RawChannel], indices: Sequence[int | None]) -> str:
    """Return numbers and names of channels, e.g. ``4 5 6 (IL1 IL2 IL3)``; long lists are cut."""
    there = [channels[index] for index in indices if index is not None]
    more = f" … {there[-1].number}" if len(there) > MAX_LISTED else ""
    shown = there[:MAX_LISTED]
    numbers = " ".join(str(channel.number) for channel in shown)
    names = " ".join(channel.name for channel in shown)
    return f"{numbers}{more} ({names}{' …' if more else ''})"


def _numbered(channels: Sequence[RawChannel]) -> str:
    more = " …" if len(channels) > MAX_LISTED else ""
    return ", ".join(f"{channel.number} {channel.name}" for channel in channels[:MAX_LISTED]) + more


def no_line_message(raw: RawRecord, states: Sequence[SetState]) -> str:
    """Return the reason why a record has no line, with the channels to assign and an option to paste."""
    dead = [state for state in states if state.dead]
    if dead:
        sets = "; ".join(f"{listed(raw.channels, state.found.channels)}: {state.dead}" for state in dead[:3])
        more = f" and {len(dead) - 3} more sets" if len(dead) > 3 else ""
        return f"no set of channels is live: {sets}{more}"
    kinds = {kind: [c for c in raw.channels if kind_of(c) == kind] for kind in ("current", "voltage")}
    others = [channel for channel in raw.channels if not kind_of(channel)]
    groups = (("currents", kinds["current"]), ("voltages", kinds["voltage"]), ("others", others))
    parts = [f"{what} {_numbered(group)}" for what, group in groups if group]
    currents = kinds["current"] or others
    voltages = kinds["voltage"] or [channel for channel in others if channel not in currents[:3]]
    roles = [*zip(CHANNELS[:3], currents, strict=False), *zip(CHANNELS[3:], voltages, strict=False)]
    option = " ".join(f"{role}={channel.number}" for role, channel in roles)
    if not any(kinds.values()) and others and all(channel_unit(channel).state == "other" for channel in others):
        units = ", ".join(dict.fromkeys(channel.unit.strip() for channel in others))
        return (
            f"the record has neither currents nor voltages, by the units of its channels ({units[:MAX_NAME]}): if "
            f"these are wrong, name the phases with --channels '{option}'"
        )
    found = "; ".join(parts)
    return f"no set of three phases was identified ({found}): name the phases with --channels '{option}'"


def _named(bays: list[Bay]) -> list[Bay]:
    """Return the bays with unique names without control characters."""
    named: list[Bay] = []
    taken: set[str] = set()
    for number, bay in enumerate(bays, 1):
        printable = "".join(char for char in bay.name if char.isprintable())
        name = bounded_name(printable).strip() or f"line {number}"
        unique = name if name not in taken else f"{name} #{number}"
        taken.add(unique)
        named.append(replace(bay, name=unique))
    return named


def bounded_name(text: str) -> str:
    """Return the beginning of a name that has at most ``MAX_NAME`` bytes in UTF-8."""
    return text.encode(errors="replace")[:MAX_NAME].decode(errors="ignore")


def parse_channels(text: str) -> dict[str, dict[str, str]]:
    """Parse the text of ``--channels`` into lines and their channels.

    Raises:
        RecordError: a part of the text names no channel.

    Example:
        >>> parse_channels("north: ia=4 ib=5; south: ia='IL1 A'")
        {'north': {'ia': '4', 'ib': '5'}, 'south': {'ia': 'IL1 A'}}

    A name of a line or a channel may stand in quotes; within them, two quotes mean one.
    """
    parts: list[tuple[str | None, dict[str, str]]] = []
    at = 0
    while not (end := _END.match(text, at)) or end.group(1):
        if end:
            at = end.end()
            continue
        found = _LINE_NAME.match(text, at)
        at = found.end() if found else at
        entries: dict[str, str] = {}
        while entry := _ENTRY.match(text, at):
            entries[entry.group("role").lower()] = _unquoted(entry).strip()
            at = entry.end()
        if not entries or not _END.match(text, at):
            raise RecordError(
                f"--channels: {text[at:].strip()[:60]!r} names no channel: write for example "
                "'ia=4 ib=5 ic=6 va=1 vb=2 vc=3'"
            )
        parts.append((_unquoted(found).strip() if found else None, entries))
    lines: dict[str, dict[str, str]] = {}
    for number, (name, entries) in enumerate(parts, 1):
        if name is None:
            name = f"line {number}" if len(parts) > 1 else ""
        lines[name if name not in lines else f"{name} #{number}"] = entries
    return lines


def _unquoted(found: re.Match[str]) -> str:
    for group, quote in (("single", "'"), ("double", '"')):
        if found.group(group) is not None:
            return found.group(group).replace(2 * quote, quote)
    return found.group("bare") or ""


def bays_of_user(raw: RawRecord, options: ReadOptions) -> tuple[Bay, ...] | None:
    """Return the lines that the user or the format itself defines; None if neither does.

    Raises:
        RecordError: ``options`` name a channel that does not exist or is ambiguous.
    """
    lines: Mapping[str, Any] | None = parse_channels(options.channels) if options.channels else None
    if lines is None and options.mapping is not None:
        lines = read_mapping(options.mapping).get("lines")
        if lines is not None and not (isinstance(lines, dict) and all(isinstance(v, dict) for v in lines.values())):
            raise RecordError(f"{options.mapping}: write each line as a table, [lines.NAME], with ia = …, va = …")
    if lines is None:
        if raw.line_channels is None:
            return None
        return (Bay(raw.path.stem, dict(zip(CHANNELS, raw.line_channels, strict=True))),)
    bays = []
    for name, entries in lines.items():
        unknown = set(entries) - set(ROLES)
        if unknown:
            raise RecordError(f"a line has no role {sorted(unknown)[0]!r}: use {', '.join(ROLES)}")
        roles = {role: _position(raw.channels, str(entries[role])) for role in ROLES if role in entries}
        bays.append(Bay(str(name), roles))
    return tuple(_named(bays))


def _position(channels: Sequence[RawChannel], wanted: str) -> int:
    """Return the index of the channel with a number or a name.

    Raises:
        RecordError: no channel matches, or several do; the message lists the channels.
    """
    exact = [k for k, channel in enumerate(channels) if channel.name == wanted]
    loose = [k for k, channel in enumerate(channels) if channel.name.split() == wanted.split()]
    if len(exact) == 1 or len(loose) == 1:
        return (exact if len(exact) == 1 else loose)[0]
    if wanted.isdecimal() and len(wanted) < 10:
        numbered = [k for k, channel in enumerate(channels) if channel.number == int(wanted)]
        if len(numbered) == 1:
            return numbered[0]
    names = ", ".join(f"{channel.number} {channel.name}" for channel in channels[:MAX_LISTED])
    which = "several channels are" if len(exact) > 1 else "no channel is"
    more = " …" if len(channels) > MAX_LISTED else ""
    raise RecordError(f"{which} called {wanted!r}; give the channel's number: {names}{more}")


def channel_roles(raw: RawRecord, bays: Sequence[Bay]) -> dict[int, str]:
    """Return the use of every channel by index; unused channels give their kind in parentheses."""
    roles: dict[int, str] = {}
    for bay in bays:
        for role, index in bay.roles.items():
            roles.setdefault(index, f"{bay.name}/{role}")
    return {k: roles.get(k) or f"({kind_of(channel) or 'no waveform'})" for k, channel in enumerate(raw.channels)}


def channels_option(bay: Bay, channels: Sequence[RawChannel]) -> str:
    """Return the text for ``--channels`` that assigns the channels of a line.

    Example:
        >>> channels_option(Bay("north", {"ia": 1, "va": 0}), [RawChannel(1, "UA"), RawChannel(2, "IA")])
        'north: ia=2 va=1'
    """
    name = bay.name
    if re.search(r"[:;=]|^['\"]", name):
        # These characters would end the name.
        name = _quoted(name)
    return f"{name}: " + " ".join(f"{role}={_reference(channels, index)}" for role, index in bay.roles.items())


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _reference(channels: Sequence[RawChannel], index: int) -> str:
    """Return a channel's number, or its name if another channel has the number as its name."""
    number, name = str(channels[index].number), channels[index].name
    for text, written in ((number, number), (name, _quoted(name))):
        try:
            if _position(channels, text.strip()) == index:
                return written
        except RecordError:
            continue
    return number
