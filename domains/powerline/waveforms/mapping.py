"""Assign channels to lines: pair sets of phases to bays, or follow the user's mapping.

A doubtful assignment is not made and is reported as a finding.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from domains.powerline.waveforms.assembly import ROLES
from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.naming import PhaseSet, kind_of, phase_sets
from domains.powerline.waveforms.record import CHANNELS, Finding, RawChannel, RawRecord, ReadOptions

MAX_NAME = 120
"""Maximum length of a line's name: with the file's name it stays below the contract's 255 bytes in most scripts."""
MAX_LISTED = 12
PAIRS = ("vab", "vbc", "vca")


@dataclass(frozen=True, slots=True)
class Bay:
    """Channels of one line: the index of the channel for each role of ``assembly.ROLES`` that the record has."""

    name: str
    roles: Mapping[str, int]


def find_bays(raw: RawRecord, options: ReadOptions) -> tuple[list[Bay], list[Finding]]:
    """Return the lines of a record, and findings about doubtful channels.

    Raises:
        RecordError: ``options`` name a channel that does not exist or is ambiguous.
    """
    given = _bays_of_user(raw, options)
    if given is not None:
        return given, []
    if raw.line_channels is not None:
        return [Bay(raw.path.stem, dict(zip(CHANNELS, raw.line_channels, strict=True)))], []
    sets, _ = phase_sets(raw.channels)
    findings: list[Finding] = []
    sets = _prefer_ground_voltages(raw, sets, findings)
    bays = [_bay(raw, current, voltage) for current, voltage in _paired(raw, sets, findings)]
    return _named(bays), findings


def _prefer_ground_voltages(raw: RawRecord, sets: list[PhaseSet], findings: list[Finding]) -> list[PhaseSet]:
    """Drop the phase-to-phase voltages if the record has phase-to-ground voltages."""
    if any(found.kind == "voltage" and not found.pairs for found in sets):
        return [found for found in sets if not found.pairs]
    if any(found.pairs for found in sets):
        message = "the record has only phase-to-phase voltages: zero-sequence voltage is unknown and assumed to be zero"
        findings.append(Finding("warning", "no-ground-voltages", message))
    return sets


def _paired(
    raw: RawRecord, sets: list[PhaseSet], findings: list[Finding]
) -> list[tuple[PhaseSet | None, PhaseSet | None]]:
    currents = [found for found in sets if found.kind == "current"]
    voltages = [found for found in sets if found.kind == "voltage"]
    if not currents or not voltages:
        present, other = (voltages, "currents") if not currents else (currents, "voltages")
        if present:
            message = f"no set of three {other} was found: all {other} are assumed to be zero"
            findings.append(Finding("warning", f"no-{other}", message))
        return [(None, found) if not currents else (found, None) for found in present]
    if len(currents) == len(voltages) == 1:
        return [(currents[0], voltages[0])]
    ties = {id(current): [_name_score(current, voltage) for voltage in voltages] for current in currents}
    if not any(any(scores) for scores in ties.values()):
        return _paired_without_names(raw, currents, voltages, findings)
    pairs: list[tuple[PhaseSet | None, PhaseSet | None]] = []
    doubtful = []
    for current in currents:
        scores = ties[id(current)]
        best = max(scores)
        if best > 0 and scores.count(best) == 1:
            pairs.append((current, voltages[scores.index(best)]))
        else:
            doubtful.append(current)
    _list_doubtful(raw, doubtful, voltages, findings)
    return pairs


def _paired_without_names(
    raw: RawRecord, currents: list[PhaseSet], voltages: list[PhaseSet], findings: list[Finding]
) -> list[tuple[PhaseSet | None, PhaseSet | None]]:
    """Pair sets of currents and voltages whose names have nothing in common."""
    if len(voltages) == 1:
        message = (
            f"the record has one set of voltages (channels {_members(raw, voltages[0])}): "
            f"{len(currents)} lines share it"
        )
        findings.append(Finding("note", "shared-voltages", message))
        return [(current, voltages[0]) for current in currents]
    if len(voltages) == len(currents):
        message = (
            "the names do not show which voltages belong to which currents: they are paired in the order of the file "
            "(--channels sets another pairing)"
        )
        findings.append(Finding("warning", "paired-by-order", message))
        return list(zip(currents, voltages, strict=True))
    _list_doubtful(raw, currents, voltages, findings)
    return []


def _list_doubtful(
    raw: RawRecord, currents: Sequence[PhaseSet], voltages: Sequence[PhaseSet], findings: list[Finding]
) -> None:
    choices = " or ".join(_members(raw, voltage) for voltage in voltages[:MAX_LISTED])
    for current in currents[:MAX_LISTED]:
        message = (
            f"the names do not show which voltages belong to currents {_members(raw, current)}, so these are not used; "
            f"assign them with --channels (voltages in the record: {choices})"
        )
        findings.append(Finding("warning", "ambiguous-channels", message))


def _members(raw: RawRecord, found: PhaseSet) -> str:
    return " ".join("-" if index is None else str(raw.channels[index].number) for index in found.channels)


def _words(found: PhaseSet) -> set[str]:
    return set(re.findall(r"[^\W_]+", f"{found.label} {found.circuit}".casefold()))


def _name_score(current: PhaseSet, voltage: PhaseSet) -> int:
    """Return a score of how much the names and circuits of two sets have in common."""
    circuit = bool(current.circuit) and current.circuit.casefold() == voltage.circuit.casefold()
    return 10 * circuit + len(_words(current) & _words(voltage))


def _bay(raw: RawRecord, current: PhaseSet | None, voltage: PhaseSet | None) -> Bay:
    first = current or voltage
    assert first is not None
    roles: dict[str, int] = {}
    for found, names in ((current, CHANNELS[:3]), (voltage, PAIRS if voltage and voltage.pairs else CHANNELS[3:])):
        if found is not None:
            roles |= {name: k for name, k in zip(names, found.channels, strict=True) if k is not None}
    return Bay((first.circuit or first.label)[:MAX_NAME], roles)


def _named(bays: list[Bay]) -> list[Bay]:
    """Return the bays with unique names without control characters."""
    named: list[Bay] = []
    taken: set[str] = set()
    for number, bay in enumerate(bays, 1):
        name = "".join(char for char in bay.name if char.isprintable()).strip() or f"line {number}"
        unique = name if name not in taken else f"{name} #{number}"
        taken.add(unique)
        named.append(replace(bay, name=unique))
    return named


def parse_channels(text: str) -> dict[str, dict[str, str]]:
    """Parse the text of ``--channels`` into lines and their channels.

    Raises:
        RecordError: a part of the text names no channel.

    Example:
        >>> parse_channels("north: ia=4 ib=5; south: ia='IL1 A'")
        {'north': {'ia': '4', 'ib': '5'}, 'south': {'ia': 'IL1 A'}}
    """
    lines: dict[str, dict[str, str]] = {}
    for number, part in enumerate(filter(str.strip, text.split(";")), 1):
        name, colon, rest = part.partition(":")
        if not colon or "=" in name:
            name, rest = (f"line {number}" if ";" in text.strip(" ;") else ""), part
        entries = re.findall(r"""([A-Za-z]+)\s*=\s*(?:'([^']*)'|"([^"]*)"|([^\s,]+))""", rest)
        if not entries:
            raise RecordError(
                f"--channels {part.strip()[:60]!r} names no channel: write for example 'ia=4 ib=5 ic=6 va=1 vb=2 vc=3'"
            )
        lines[name.strip()] = {key.lower(): (a or b or c).strip() for key, a, b, c in entries}
    return lines


def read_mapping(path: Path) -> dict[str, Any]:
    """Read the TOML file of ``--mapping``.

    Raises:
        RecordError: the file cannot be read, or is not valid TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: not valid TOML: {error}") from error


def _bays_of_user(raw: RawRecord, options: ReadOptions) -> list[Bay] | None:
    lines: Mapping[str, Any] | None = parse_channels(options.channels) if options.channels else None
    if lines is None and options.mapping is not None:
        lines = read_mapping(options.mapping).get("lines")
        if lines is not None and not (isinstance(lines, dict) and all(isinstance(v, dict) for v in lines.values())):
            raise RecordError(f"{options.mapping}: write each line as a table, [lines.NAME], with ia = …, va = …")
    if lines is None:
        return None
    bays = []
    for name, entries in lines.items():
        unknown = set(entries) - set(ROLES)
        if unknown:
            raise RecordError(f"a line has no channel {sorted(unknown)[0]!r}: use {', '.join(ROLES)}")
        roles = {role: _position(raw.channels, str(entries[role])) for role in ROLES if role in entries}
        bays.append(Bay(str(name)[:MAX_NAME], roles))
    return _named(bays)


def _position(channels: Sequence[RawChannel], wanted: str) -> int:
    """Return the index of the channel with a number or a name.

    Raises:
        RecordError: no channel matches, or several do; the message lists the channels.
    """
    exact = [k for k, channel in enumerate(channels) if channel.name == wanted]
    loose = [k for k, channel in enumerate(channels) if channel.name.split() == wanted.split()]
    if len(exact) == 1 or len(loose) == 1:
        return (exact if len(exact) == 1 else loose)[0]
    if wanted.isdigit():
        numbered = [k for k, channel in enumerate(channels) if channel.number == int(wanted)]
        if len(numbered) == 1:
            return numbered[0]
    names = ", ".join(f"{channel.number} {channel.name}" for channel in channels[:MAX_LISTED])
    which = "several channels are" if len(exact) > 1 else "no channel is"
    more = " …" if len(channels) > MAX_LISTED else ""
    raise RecordError(f"{which} called {wanted!r}; give the channel's number: {names}{more}")


def channel_roles(raw: RawRecord, bays: Sequence[Bay]) -> dict[int, str]:
    """Return the use of every channel by index; unused channels give their kind in parentheses."""
    roles = {index: f"{bay.name}/{role}" for bay in bays for role, index in bay.roles.items()}
    return {k: roles.get(k) or f"({kind_of(channel) or 'no waveform'})" for k, channel in enumerate(raw.channels)}


def channels_option(bay: Bay, channels: Sequence[RawChannel]) -> str:
    """Return the text for ``--channels`` that assigns the channels of a line.

    Example:
        >>> channels_option(Bay("north", {"ia": 1, "va": 0}), [RawChannel(1, "UA"), RawChannel(2, "IA")])
        'north: ia=2 va=1'
    """
    # A colon, semicolon or equals sign in the name would be read as the end of the name.
    name = re.sub(r"[:;=]+", " ", bay.name).strip()
    return f"{name}: " + " ".join(f"{role}={channels[index].number}" for role, index in bay.roles.items())
