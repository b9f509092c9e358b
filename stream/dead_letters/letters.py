"""Read dead letters: why each could not be processed, and the record as it was before. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import ValidationError

from stream.contract import HEADER_PREFIX, DeadLetterHeaders
from stream.detection.decode import IncomingRecord
from stream.errors import ContractError

HEADER_REDRIVEN = f"{HEADER_PREFIX}redriven.from"
"""On a record that was sent again: where its dead letter stands, as topic/partition/offset."""
_NAMES = {f"{HEADER_PREFIX}error.{name.replace('_', '.')}": name for name in DeadLetterHeaders.model_fields}
SOURCES_NAMED = 3

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: where it stands, its cause, and the record as received."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    cause: DeadLetterHeaders
    key: bytes | None
    value: bytes | None
    headers: Headers
    """As received, ours left out."""

    @property
    def place(self) -> str:
        """Return ``partition:offset`` on the topic of dead letters."""
        return f"{self.partition}:{self.offset}"

    @property
    def source(self) -> str:
        """Return the sender, as named by the key."""
        if not self.key:
            return "(no key)"
        text = self.key.decode("utf-8", "backslashreplace")
        return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)

    @property
    def again(self) -> bool:
        """Return whether it had been sent again once, and died again."""
        return any(name == HEADER_REDRIVEN for name, _ in self.headers)


def read_letter(record: IncomingRecord) -> Letter:
    """Read a record of the topic of dead letters.

    Raises:
        ContractError: it does not state its cause, so it is none of ours.
    """
    # Ours are the last ones: a record may have come with headers that look like them.
    ours = tuple(record.headers[-len(_NAMES) :])
    given = {_NAMES[name]: (text or b"").decode("utf-8", "replace") for name, text in ours if name in _NAMES}
    try:
        cause = DeadLetterHeaders.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ContractError(
            f"{record.topic} {record.partition}:{record.offset} is no dead letter of ours: "
            f"{HEADER_PREFIX}error.{first['loc'][0]}: {first['msg']}"
        ) from None
    received = tuple(record.headers[: -len(_NAMES)])
    place = record.topic, record.partition, record.offset
    return Letter(*place, record.timestamp, cause, record.key, record.value, received)


@dataclass(frozen=True)
class LetterFilter:
    """Choice of letters; an empty set is all."""

    reasons: frozenset[str] = frozenset()
    lines: frozenset[str] = frozenset()
    before_ms: int | None = None

    def wants(self, letter: Letter) -> bool:
        """Return whether a letter is of a chosen reason and line, and old enough."""
        return (
            (not self.reasons or letter.cause.reason in self.reasons)
            and (not self.lines or letter.source in self.lines)
            and (self.before_ms is None or letter.timestamp_ms < self.before_ms)
        )


@dataclass
class ReasonCount:
    """All letters of one reason in a few figures."""

    reason: str
    letters: int = 0
    first_ms: int = 0
    last_ms: int = 0
    example: str = ""
    """Place of the newest one, for ``faultline dlq show``."""
    message: str = ""
    sources: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Return the figures for JSON: times in RFC 3339, the sources that sent most of them."""
        return {
            "reason": self.reason,
            "letters": self.letters,
            "first": time_text(self.first_ms),
            "last": time_text(self.last_ms),
            "sources": dict(self.most()),
            "distinct_sources": len(self.sources),
            "example": self.example,
            "message": self.message,
        }

    def most(self) -> list[tuple[str, int]]:
        """Return the sources that sent most of them, with how many."""
        return sorted(self.sources.items(), key=lambda one: -one[1])[:SOURCES_NAMED]


def count_reasons(letters: Iterable[Letter]) -> list[ReasonCount]:
    """Return the letters counted by reason, the commonest first."""
    counts: dict[str, ReasonCount] = {}
    for letter in letters:
        count = counts.setdefault(letter.cause.reason, ReasonCount(letter.cause.reason))
        first = count.letters == 0
        count.letters += 1
        count.sources[letter.source] = count.sources.get(letter.source, 0) + 1
        count.first_ms = letter.timestamp_ms if first else min(count.first_ms, letter.timestamp_ms)
        if first or letter.timestamp_ms >= count.last_ms:
            count.last_ms, count.example, count.message = letter.timestamp_ms, letter.place, letter.cause.message
    return sorted(counts.values(), key=lambda count: -count.letters)


def redriven_headers(letter: Letter) -> list[tuple[str, bytes | None]]:
    """Return the headers of the record when it is sent again: as received, and where its letter stands."""
    kept = [(name, text) for name, text in letter.headers if name != HEADER_REDRIVEN]
    return [*kept, (HEADER_REDRIVEN, f"{letter.topic}/{letter.partition}/{letter.offset}".encode())]


def parse_place(text: str) -> tuple[int, int]:
    """Return partition and offset of ``partition:offset``.

    Raises:
        ContractError: it is none.

    Example:
        >>> parse_place("3:1207")
        (3, 1207)
    """
    partition, colon, offset = text.partition(":")
    if not (colon and partition.isdecimal() and offset.isdecimal()):
        raise ContractError(
            f"{text!r} is no place: give PARTITION:OFFSET as `faultline dlq list` prints it, e.g. 3:1207"
        )
    return int(partition), int(offset)


def time_text(timestamp_ms: int) -> str:
    """Return a time in Unix ms as RFC 3339 text, UTC."""
    at = datetime.fromtimestamp(max(0, timestamp_ms) / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def dump(value: bytes, limit: int = 256) -> str:
    """Return the first bytes in hexadecimal and as text, sixteen in a row."""
    rows = []
    for begin in range(0, min(len(value), limit), 16):
        row = value[begin : begin + 16]
        text = "".join(chr(one) if 32 <= one < 127 else "." for one in row)
        rows.append(f"{begin:06x}  {row.hex(' '):<47}  {text}")
    return "\n".join(rows)
