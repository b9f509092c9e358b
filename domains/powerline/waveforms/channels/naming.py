"""Derive quantity, phase and sets of three from the channels' names, units, phase fields and circuits.

The structure of names is used instead of a dictionary, so that any language works: three channels whose names differ
only in one symbol of a known alphabet of phases (A B C, L1 L2 L3, R S T, …) are a set, whatever their names mean. Where
names say nothing, the phase field and the unit suffice.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from domains.powerline.waveforms.channels.channel_name import (
    DIGITS,
    FIELD,
    HEAD,
    INNER,
    JOINT,
    NO_SPACES,
    PAIRS,
    PHASES,
    PLAIN_WORDS,
    RESIDUAL_WORDS,
    REVERSED,
    USUAL,
    WORD,
    ChannelName,
    Place,
    counted,
    counted_inside,
    counts_from_zero,
    is_phase_word,
    quantity_of,
    read_name,
    running_number,
    without_quantity,
)
from domains.powerline.waveforms.channels.phase_fields import NO_PHASE, phase_fields
from domains.powerline.waveforms.record import RawChannel
from domains.powerline.waveforms.units import Kind, channel_unit, read_unit, unit_of

__all__ = ["Kind", "PhaseSet", "kind_of", "phase_sets", "unit_of"]

ALPHABETS = (*PHASES, *PAIRS)
MOST_JOINT = 4
"""Most places of a name that are taken together for a phase that is said several times."""
MOST_NUMBERED = 4
"""Highest number up to which I1, I2, I3, … are phases and a neutral rather than numbered channels."""


@dataclass(frozen=True, slots=True)
class PhaseSet:
    """Channels of the same quantity in different phases.

    Attributes:
        kind: the quantity.
        label: words of the names that tell this set from others, without those for the quantity.
        circuit: circuit of the channels in the header.
        channels: indices of phases A, B, C (AB, BC, CA if ``pairs`` is set); None if the file has none.
        pairs: True for phase-to-phase voltages.
        residual: index of the channel of the neutral (IN, 3I0; VN, 3U0); None if there is none without doubt.
        residual_is_third: True if that channel is the zero sequence (I0, U0), a third of the sum of the phases.
        reversed: True for phase-to-phase voltages with the opposite sign: U21, U32, U13 instead of U12, U23, U31.
        why: reason for which the channels were taken for a set, for people.
        numbered: True if only numbers in the names tell the phases, so that the waveforms must confirm them.
    """

    kind: Kind
    label: str
    circuit: str
    channels: tuple[int | None, int | None, int | None]
    pairs: bool
    residual: int | None = None
    residual_is_third: bool = False
    reversed: bool = False
    why: str = ""
    numbered: bool = False

    @property
    def first(self) -> int:
        """Index of the first channel that there is."""
        return next(index for index in self.channels if index is not None)


def kind_of(channel: RawChannel) -> Kind:
    """Return current or voltage, by the unit or else by the name; ``""`` if the channel is neither."""
    return _kind(channel, read_name(channel.name))


def _kind(channel: RawChannel, name: ChannelName) -> Kind:
    unit = channel_unit(channel)
    if unit.state == "other":
        return ""
    # Data acquisition cards give every channel the unit V.
    contradicted = name.sure and name.kind != unit.kind and unit.factor == 1.0
    return name.kind if contradicted or not unit.kind else unit.kind


def phase_sets(channels: Sequence[RawChannel]) -> tuple[list[PhaseSet], dict[int, str]]:
    """Return the sets of channels in the order of the file, and for every channel in no set the reason.

    Complete sets are formed before sets of two.

    Example:
        >>> names = ("1-IL1", "2-IL2", "3-IL3", "4-IN", "5-Freq")
        >>> sets, left = phase_sets([RawChannel(n, name) for n, name in enumerate(names, 1)])
        >>> sets[0].kind, sets[0].channels, sets[0].residual, left
        ('current', (0, 1, 2), 3, {4: 'calculated: frequency'})
    """
    search = _Search(channels)
    search.run()
    sets = search.with_residuals()
    used = {index for found in sets for index in (*found.channels, found.residual) if index is not None}
    unused = {index: search.reason(index) for index in range(len(channels)) if index not in used}
    return sorted(sets, key=lambda found: found.first), unused


@dataclass(frozen=True, slots=True)
class _Reading:
    """One way to read a channel: a phase, and the name without it."""

    alphabet: str
    phase: int
    pattern: str
    certainty: int
    places: tuple[Place, ...] = ()


@dataclass(slots=True)
class _Bucket:
    """Channels whose names differ only in the phase, by phase, and how each was read."""

    certainty: int = 0
    phases: dict[int, list[int]] = field(default_factory=dict)
    readings: dict[int, _Reading] = field(default_factory=dict)

    def add(self, index: int, reading: _Reading) -> None:
        if index not in self.readings:
            self.phases.setdefault(reading.phase, []).append(index)
            self.readings[index] = reading
            self.certainty = max(self.certainty, reading.certainty)


class _Key(NamedTuple):
    kind: Kind
    alphabet: str
    circuit: str
    pattern: str


@dataclass(frozen=True, slots=True)
class _Found:
    """A set with what is needed to find its neutral: its key, and its label as words in capitals."""

    set: PhaseSet
    key: _Key
    words: frozenset[str]


class _Search:
    """Search for the sets of a record."""

    def __init__(self, channels: Sequence[RawChannel]) -> None:
        self.channels = channels
        self.names = _names(channels)
        self.kinds = [_kind(channel, name) for channel, name in zip(channels, self.names, strict=True)]
        self.circuits = [" ".join(channel.circuit.split()).casefold() for channel in channels]
        self.stated = phase_fields(channels)
        self.numbers = self._numbers()
        self.free = {k for k, kind in enumerate(self.kinds) if kind and not self.names[k].calculated}
        self.found: list[_Found] = []
        self._lettered: set[tuple[Kind, str, str]] = set()
        self._cached: dict[int, list[_Reading]] = {}

    def run(self) -> None:
        """Form the sets: complete ones by certainty, then those of two phases."""
        for by_circuit in (True, False):
            self._form(self._readings, by_circuit)
        self._form_without_running_numbers()
        for readings in (self._readings_of_name, self._readings_of_field):
            for by_circuit in (True, False):
                self._form(readings, by_circuit)
        for by_circuit in (True, False):
            self._form(self._readings, by_circuit, fewest=2)
        self._form(self._readings_of_field, True, fewest=2)
        self._form_numbered()

    def _numbers(self) -> dict[tuple[Kind, str], set[int]]:
        """Return the numbers that occur at each place of the names, to tell phases 1 2 3 from numbered channels."""
        numbers: dict[tuple[Kind, str], set[int]] = defaultdict(set)
        for kind, name in zip(self.kinds, self.names, strict=True):
            for k, token in enumerate(name.tokens):
                found = re.fullmatch(r"(\D*)(\d{1,4})([NGE]?)", token)
                if found is not None:
                    masked = (*name.tokens[:k], f"{found[1]}*{found[3]}", *name.tokens[k + 1 :])
                    numbers[kind, " ".join(masked)].add(int(found[2]))
        return numbers

    def _readings(self, index: int) -> Sequence[_Reading]:
        """Return the ways to read a channel that agree with its phase field."""
        if index not in self._cached:
            self._cached[index] = list(self._new_readings(index))
        return self._cached[index]

    def _new_readings(self, index: int) -> Iterator[_Reading]:
        name, stated = self.names[index], self.stated[index]
        if stated is None:
            places: Sequence[Place] = name.places
        elif stated.phase == NO_PHASE:
            return
        else:
            places = [place for place in name.places if stated.agrees(place)]
            yield _Reading(stated.alphabet, stated.phase, " ".join(name.tokens), FIELD)
        # Where the name says IA, another A is the name of a place: UA_SUB_A.
        sure = any(place.certainty == HEAD and place.quantity and place.alphabet in USUAL for place in places)
        for place in places:
            if not sure or place.certainty == HEAD or place.alphabet in PAIRS:
                yield _Reading(place.alphabet, place.phase, _masked(name, (place,)), place.certainty, (place,))
        for reading in _joint(name, places):
            if not sure or any(place.certainty == HEAD for place in reading.places):
                yield reading

    def _readings_of_name(self, index: int) -> Iterator[_Reading]:
        """Yield the certain ways to read a channel whose phase field contradicts its name."""
        name = self.names[index]
        if self.stated[index] is not None:
            for place in name.places:
                if place.certainty == HEAD:
                    yield _Reading(place.alphabet, place.phase, _masked(name, (place,)), HEAD, (place,))

    def _readings_of_field(self, index: int) -> Iterator[_Reading]:
        """Yield the phase field of a channel whose name says nothing."""
        stated = self.stated[index]
        if stated is None or stated.phase == NO_PHASE:
            return
        if not any(place.certainty == HEAD and stated.agrees(place) for place in self.names[index].places):
            yield _Reading(stated.alphabet, stated.phase, "", FIELD)

    def _form_without_running_numbers(self) -> None:
        """Form sets of the remaining channels by their names without numbers before or after them."""
        names_given = [channel.name for channel in self.channels]
        before = [running_number(name) for name in names_given]
        after = [running_number(name, trailing=True) for name in names_given]
        for numbers, least in ((before, JOINT), (after, JOINT), (counted_inside(names_given), WORD)):
            names, cached = list(self.names), dict(self._cached)
            for index in self.free:
                found = numbers[index]
                if found is not None:
                    self.names[index] = read_name(found.rest)
                    self._cached.pop(index, None)
            for by_circuit in (True, False):
                self._form(self._readings, by_circuit, least=least)
            for index in self.free:
                self.names[index] = names[index]
            self._cached = cached

    def _form(
        self, readings: Callable[[int], Iterable[_Reading]], by_circuit: bool, *, fewest: int = 3, least: int = 0
    ) -> None:
        """Form sets of the free channels, the most certain ones first."""
        if len(self.free) < fewest:
            return
        buckets: dict[_Key, _Bucket] = defaultdict(_Bucket)
        for index in sorted(self.free):
            kind, circuit = self.kinds[index], self.circuits[index] if by_circuit else ""
            for reading in readings(index):
                if reading.certainty >= least and (kind == "voltage" or reading.alphabet not in PAIRS):
                    buckets[_Key(kind, reading.alphabet, circuit, reading.pattern)].add(index, reading)
        promising = [(key, bucket) for key, bucket in buckets.items() if len(bucket.phases) >= fewest]
        for key, bucket in sorted(promising, key=lambda item: (-item[1].certainty, ALPHABETS.index(item[0].alphabet))):
            if self._allowed(key, bucket, fewest) and (by_circuit or not self._parted(bucket)):
                for members in self._groups(bucket, fewest):
                    self._add(key, bucket, members, by_circuit)

    def _allowed(self, key: _Key, bucket: _Bucket, fewest: int) -> bool:
        """Return True unless the symbols of a bucket may mean something else than phases."""
        if key.alphabet in DIGITS and not all(self.stated[index] for index in bucket.readings):
            numbers = self.numbers.get((key.kind, key.pattern), set())
            if not numbers <= {*range(MOST_NUMBERED + 1), 12, 13, 21, 23, 31, 32}:
                return False
        if key.alphabet in DIGITS and fewest == 3 and key.alphabet in PHASES:
            # Beside IA, IB, IC the names I1, I2, I3 mean harmonics, sequences or numbers.
            return (key.kind, key.circuit, key.pattern) not in self._lettered
        if fewest == 3:
            return True
        if key.alphabet in DIGITS and key.alphabet in PHASES:
            return False
        stated = all(self.stated[index] for index in bucket.readings)
        aron = key.kind == "current" and bucket.phases.keys() == {0, 2}
        if bucket.certainty < (WORD if stated or aron else JOINT):
            return False
        found = [found.key for found in self.found]
        if not key.pattern:
            # Names that say nothing: two channels that are left over.
            return len(bucket.readings) == 2 and not any(
                other.kind == key.kind and other.circuit == key.circuit for other in found
            )
        letters = set(key.alphabet)
        return key.alphabet in USUAL or not found or any(set(other.alphabet) == letters for other in found)

    def _form_numbered(self) -> None:
        """Form sets by three consecutive numbers, where a circuit has no other set of its kind."""
        taken = {(found.key.kind, found.key.circuit) for found in self.found}
        buckets: dict[_Key, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for index in sorted(self.free):
            name, kind, circuit = self.names[index], self.kinds[index], self.circuits[index]
            if name.residual or self.stated[index] is not None or (kind, circuit) in taken:
                continue
            text = " ".join(read_name(self.channels[index].name).tokens)
            for place in (*_NUMBER.finditer(text), *_LAST_DIGIT.finditer(text)):
                pattern = f"{text[: place.start()]}*{text[place.end() :]}"
                buckets[_Key(kind, "1 2 3", circuit, pattern)][int(place[0])].append(index)
        # The last number of a name is the phase rather than the first: I1:1, I1:2, I1:3.
        for key, members in sorted(buckets.items(), key=lambda item: -item[0].pattern.index("*")):
            numbers = sorted(members)
            follow = len(numbers) == 3 and numbers[0] > 0 and numbers[2] - numbers[0] == 2
            if re.search(r"\d\*", key.pattern):
                # I11 I12 I13 I21 is a run of numbers, and not the first phases of two lines.
                whole = buckets[key._replace(pattern=re.sub(r"\d+\*", "*", key.pattern))]
                tens = {number // 10 for number in whole}
                follow = numbers == [1, 2, 3] and whole.keys() == {10 * ten + k for ten in tens for k in (1, 2, 3)}
            if follow and all(len(found) == 1 and found[0] in self.free for found in members.values()):
                self._add_numbered(key, [members[number][0] for number in numbers])

    def _add_numbered(self, key: _Key, members: Sequence[int]) -> None:
        self.free -= set(members)
        words = [word for word in key.pattern.replace("*", "").split() if not _ARRAY.fullmatch(word)]
        label = _label_of(words, words)
        unit = self.channels[members[0]].unit.strip()
        found = PhaseSet(
            kind=key.kind,
            label=_joined(word for word, _ in label),
            circuit=" ".join(self.channels[members[0]].circuit.split()),
            channels=(members[0], members[1], members[2]),
            pairs=False,
            why=f"names differ only in three consecutive numbers, {f'unit {unit}' if unit else 'no unit'}",
            numbered=True,
        )
        self.found.append(_Found(found, key, frozenset(word for word, _ in label)))

    def _parted(self, bucket: _Bucket) -> bool:
        """Return True if circuits part the channels of a bucket, so that sets must not mix them."""
        phases: dict[str, set[int]] = defaultdict(set)
        for phase, members in bucket.phases.items():
            for index in members:
                if index in self.free:
                    phases[self.circuits[index]].add(phase)
        return len(phases) > 1 and any(circuit and len(found) > 1 for circuit, found in phases.items())

    def _groups(self, bucket: _Bucket, fewest: int) -> Iterator[dict[int, int]]:
        """Yield the sets of a bucket as channel by phase: the n-th of each phase, or runs if a phase is missing."""
        left = {phase: [k for k in members if k in self.free] for phase, members in bucket.phases.items()}
        left = {phase: members for phase, members in left.items() if members}
        if len(left) < fewest:
            return
        if len({len(members) for members in left.values()}) == 1:
            for members in zip(*left.values(), strict=True):
                yield dict(zip(left, members, strict=True))
            return
        run: dict[int, int] = {}
        for index, phase in sorted((index, phase) for phase, members in left.items() for index in members):
            if phase in run:
                if len(run) >= fewest:
                    yield run
                run = {}
            run[phase] = index
        if len(run) >= fewest:
            yield run

    def _add(self, key: _Key, bucket: _Bucket, members: dict[int, int], by_circuit: bool) -> None:
        first = min(members.values())
        self.free -= set(members.values())
        reading, name = bucket.readings[first], self.names[first]
        if reading.places:
            label = _label(name, reading.places)
        else:
            others = [set(self.names[index].tokens) for index in members.values()]
            label = [(capitals, shown) for capitals, shown in _label(name, ()) if all(capitals in o for o in others)]
        circuit = " ".join(self.channels[first].circuit.split()) if by_circuit else ""
        found = PhaseSet(
            kind=key.kind,
            label=_joined(shown for _, shown in label),
            circuit=circuit,
            channels=(members.get(0), members.get(1), members.get(2)),
            pairs=key.alphabet in PAIRS,
            reversed=key.alphabet in REVERSED,
            why=self._why(key, reading, list(members.values())),
        )
        self.found.append(_Found(found, key, frozenset(capitals for capitals, _ in label)))
        if not found.pairs:
            self._lettered.add((key.kind, key.circuit, key.pattern))

    def _why(self, key: _Key, reading: _Reading, members: list[int]) -> str:
        reasons = []
        if reading.places:
            reasons.append(f"names differ only in {key.alphabet}")
        stated = [self.stated[index] for index in members]
        if all(field is not None and field.phase != NO_PHASE for field in stated) and key.alphabet not in DIGITS:
            reasons.append("phase field " + " ".join(self.channels[index].phase.strip() for index in sorted(members)))
        units = dict.fromkeys(self.channels[index].unit.strip() for index in members)
        reasons.append(f"unit {'/'.join(filter(None, units))}" if any(units) else "no unit")
        return ", ".join(reasons)

    def with_residuals(self) -> list[PhaseSet]:
        """Return the sets with the channels of the neutral that belong to them without doubt."""
        places: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for k, found in enumerate(self.found):
            kind, circuit = found.key.kind, found.set.circuit.casefold()
            places["pattern", kind, circuit, found.key.pattern].append(k)
            places["words", kind, circuit, found.words].append(k)
            places["words", kind, found.words].append(k)
            places["circuit", kind, circuit].append(k)
            places["kind", kind].append(k)
        best: dict[int, tuple[tuple[int, bool, bool], int]] = {}
        shared: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index in sorted(self.free):
            name, stated = self.names[index], self.stated[index]
            neutral = stated is not None and stated.phase == NO_PHASE and not name.other
            if not (name.residual or neutral) or self._is_sequence(index) or self._is_fifth(index):
                continue
            level, owners = self._owners(index, name.residual or " ".join(name.tokens), places)
            # A sum is taken before the zero sequence, and a name such as 3I0 or IN before a phase field.
            rank = (level, name.third, not name.residual)
            if not self._alone(owners):
                shared[tuple(owners)].append(index)
                continue
            for owner in owners:
                if owner not in best or rank < best[owner][0]:
                    best[owner] = (rank, index)
        for among, neutrals in shared.items():
            for owner, index in self._by_position(among, neutrals):
                best.setdefault(owner, ((0, self.names[index].third, False), index))
        sets = [found.set for found in self.found]
        for owner, (rank, index) in best.items():
            sets[owner] = replace(sets[owner], residual=index, residual_is_third=rank[1])
        return sets

    def _owners(
        self, index: int, pattern: str, places: Mapping[tuple[object, ...], list[int]]
    ) -> tuple[int, list[int]]:
        """Return the sets to which a neutral belongs, and how certain that is (lower is better)."""
        kind, circuit = self.kinds[index], self.circuits[index]
        words = _words_of_neutral(pattern.split())
        near = places.get(("circuit", kind, circuit), [])
        same = places.get(("kind", kind), [])
        candidates = [
            places.get(("pattern", kind, circuit, pattern), []),
            places.get(("words", kind, circuit, words), []),
            places.get(("words", kind, words), []) if words else [],
        ]
        for level, owners in enumerate(candidates):
            if owners:
                # Voltages to ground and phase-to-phase voltages of one place share the neutral.
                beside = {k for owner in owners for k in self._at_place_of(owner, places)}
                return level, sorted(beside) if self._alone(owners) else owners
        for owners in (near, same if not circuit or not any(self.found[k].set.circuit for k in same) else []):
            strange = words and all(self.found[k].words for k in owners)
            if strange and circuit and owners is near:
                strange = not any(words & self.found[k].words for k in owners)
            if owners and self._alone(owners) and not strange:
                return len(candidates), owners
        return len(candidates), []

    def _at_place_of(self, k: int, places: Mapping[tuple[object, ...], list[int]]) -> list[int]:
        found = self.found[k]
        return places["words", found.key.kind, found.set.circuit.casefold(), found.words]

    def _alone(self, owners: Sequence[int]) -> bool:
        """Return True if there is only one of the sets, or one to ground and one phase to phase."""
        return len(owners) == len({self.found[k].set.pairs for k in owners})

    def _by_position(self, owners: Sequence[int], neutrals: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Yield sets of one name with their neutrals: each stands between its set and the next set."""
        ordered = sorted(owners, key=lambda k: self.found[k].set.first)
        starts = [*(self.found[k].set.first for k in ordered[1:]), len(self.channels)]
        for place, (owner, start) in enumerate(zip(ordered, starts, strict=True)):
            last = max(index for index in self.found[owner].set.channels if index is not None)
            between = [index for index in neutrals if last < index < start]
            if len(between) != 1 or (place == len(ordered) - 1 and len(neutrals) < len(ordered)):
                continue
            yield owner, between[0]

    def _is_fifth(self, index: int) -> bool:
        """Return True for IE where it only follows ID: the fifth input of a device."""
        name = self.names[index]
        before = self.names[index - 1].tokens if index else ()
        return any(
            token in ("IE", "UE", "VE") and before == (*name.tokens[:k], f"{token[0]}D", *name.tokens[k + 1 :])
            for k, token in enumerate(name.tokens)
        )

    def _is_sequence(self, index: int) -> bool:
        """Return True for I0, I1, I2 (magnitudes of the sequence components) where there is no I3."""
        name, kind = self.names[index], self.kinds[index]
        for k, token in enumerate(name.tokens):
            found = re.fullmatch(r"([IUV])([012])", token)
            if found is not None:
                numbers = self.numbers[kind, " ".join((*name.tokens[:k], f"{found[1]}*", *name.tokens[k + 1 :]))]
                if {1, 2} <= numbers <= {0, 1, 2}:
                    return True
        return False

    def reason(self, index: int) -> str:
        """Return the reason for which a channel is in no set, for people."""
        unit, name, stated = self.channels[index].unit.strip(), self.names[index], self.stated[index]
        state = read_unit(unit).state
        if state == "other":
            return f"unit {unit}"
        if name.calculated:
            return name.calculated
        if state == "unknown":
            return f"unit {unit!r} is unknown"
        if not self.kinds[index]:
            return "neither a current nor a voltage by unit or name"
        if self._is_sequence(index):
            return "calculated: sequence component"
        if name.residual or (stated is not None and stated.phase == NO_PHASE):
            return "residual value: its set is not certain"
        return "no other phases of this name"


_NUMBER = re.compile(r"(?<!\d)\d{1,3}(?!\d)")
_LAST_DIGIT = re.compile(r"(?<=\d)[123](?!\d)")

_ARRAY = re.compile(r"[IUVE](?:A|ABC)?")
"""Name of an array of three phases, as in Ia:1, Ia:2, Ia:3."""


def _names(channels: Sequence[RawChannel]) -> list[ChannelName]:
    """Return the names as words, without running numbers before them."""
    zero_based = counts_from_zero(channel.name for channel in channels)
    given = [read_name(channel.name, zero_based) for channel in channels]
    numbers = [
        None if name.calculated else running_number(channel.name) for channel, name in zip(channels, given, strict=True)
    ]
    words = counted([found for found in numbers if found is not None])
    names = [
        read_name(found.rest, zero_based) if found is not None and found.word in words else name
        for found, name in zip(numbers, given, strict=True)
    ]
    if any(_DIFFERENTIAL.search(" ".join(name.tokens)) for name in names):
        for k, name in enumerate(names):
            if _RESTRAINT.search(" ".join(name.tokens)):
                names[k] = replace(name, calculated="calculated: differential or restraint current")
    return names


_DIFFERENTIAL = re.compile(r"\bI ?D ?(?:[ABC]|L[123])\b")
_RESTRAINT = re.compile(r"\bI[RB](?:[ABC]|L[123])\b")
"""Names of restraint currents, such as IRA, in records with differential currents, such as IDA."""


def _masked(name: ChannelName, places: Sequence[Place]) -> str:
    """Return the name with ``*`` in place of the phase."""
    by_word = {place.token: place for place in places}
    inside = {k for place in places for k in range(place.token + 1, place.last + 1)}
    words = [by_word[k].masked if k in by_word else token for k, token in enumerate(name.tokens) if k not in inside]
    return " ".join(words)


def _joint(name: ChannelName, places: Sequence[Place]) -> Iterator[_Reading]:
    """Yield the readings of a name that says the same phase several times, as in "IL1 (A)"."""
    likely = [place for place in places if place.certainty >= INNER or place.alphabet in DIGITS]
    for phase in range(3):
        same = [place for place in likely if place.phase == phase and place.token == place.last]
        by_word: dict[int, Place] = {}
        for place in same:
            if len(by_word) < MOST_JOINT:
                by_word.setdefault(place.token, place)
        for count in {2, len(by_word)} if len(by_word) > 1 else ():
            for chosen in itertools.combinations(by_word.values(), count):
                first = max(chosen, key=lambda place: place.certainty)
                if first.alphabet not in DIGITS:
                    yield _Reading(first.alphabet, phase, _masked(name, chosen), JOINT, chosen)


def _label(name: ChannelName, places: Sequence[Place]) -> list[tuple[str, str]]:
    """Return the words of a name that tell its set from others, in capitals and as they were written."""
    by_word = {place.token: place for place in places}
    inside = {k for place in places for k in range(place.token + 1, place.last + 1)}
    # A single letter is the quantity of the phase beside it, or else a Roman numeral or the name of a bus.
    inside |= {place.last + 1 for place in places if name.tokens[place.last + 1 : place.last + 2] in (("N",), ("E",))}
    inside |= {place.token - 1 for place in places if place.quantity and place.quantity not in place.masked}
    words, shown = [], []
    for k, token in enumerate(name.tokens):
        if k not in inside:
            words.append(by_word[k].masked if k in by_word else token)
            shown.append("*" if k in by_word else name.shown[k])
    stated = any(place.quantity for place in places) or any(len(word) > 1 and quantity_of(word) for word in words)
    return _label_of(words, shown, letters=not stated)


def _words_of_neutral(tokens: Sequence[str]) -> frozenset[str]:
    """Return the words of a neutral's name that tell its set from others; ``*`` is the place of its symbol."""
    tokens = list(tokens)
    lettered = [k for k, token in enumerate(tokens) if "*" in token]
    for k in lettered:
        if tokens[k] == "*" and k and len(tokens[k - 1]) == 1 and tokens[k - 1] in "IUVE":
            del tokens[k - 1]
            return frozenset(word for word, _ in _label_of(tokens, tokens, letters=False))
    stated = any(tokens[k][0] in "3IUVE" for k in lettered)
    stated = stated or any(len(token) > 1 and quantity_of(token) for token in tokens)
    return frozenset(word for word, _ in _label_of(tokens, tokens, letters=not stated))


def _joined(words: Iterable[str]) -> str:
    """Return words with spaces between them, except beside Chinese characters and Roman numerals."""
    return re.sub(rf"(?<=[{NO_SPACES}]) | (?=[{NO_SPACES}])", "", " ".join(words))


def _label_of(words: Sequence[str], shown: Sequence[str], *, letters: bool = True) -> list[tuple[str, str]]:
    """Return the words that tell a set from others; ``letters`` if a letter apart from the phase is the quantity."""
    label = []
    for joined, joined_written in zip(words, shown, strict=True):
        word, written = without_quantity(joined), without_quantity(joined_written)
        if not word:
            continue
        short = _QUANTITY_AND_INDEX.fullmatch(word) if letters else None
        if "*" in word:
            rest = re.sub("^[NGE]$", "", _BESIDE_PHASE.sub(r"\1\2", word).replace("*", "", 1))
            label += [(rest, rest)] if rest else []
        elif short is not None:
            label += [(short[1], written[-len(short[1]) :])] if short[1] else []
        elif len(word) == 1 and word in "IUVE":
            label += [] if letters else [(word, written)]
        elif not (is_phase_word(word) or quantity_of(word) or word in PLAIN_WORDS or RESIDUAL_WORDS.search(word)):
            label.append((word, written))
    return label


_BESIDE_PHASE = re.compile(r"^(\d*)[IUVE](?=[^AEIOU]|$)L?(\d*)(?=\*)|^[IUV](?![AEIOU])")
"""Letter of the quantity before the place of the phase, as in I1*."""
_QUANTITY_AND_INDEX = re.compile(r"(?:(?:[CVPT]T|CVT|T[CPI]|ТТ|ТН)(?=\d*$)|[IUV])([A-Z]?\d{0,2})")
"""Words that state the quantity, with the number of the place behind it, as in CT1 A or I2-B."""
