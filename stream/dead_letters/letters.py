"""Read dead letters: the reason of each letter, and the record as it was received. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import ValidationError

from stream.contract import HEADER_PREFIX, DeadLetterHeaders
from stream.detection.decode import IncomingRecord
from stream.errors import ContractError

HEADER_REDRIVEN = f"{HEADER_PREFIX}redriven.from"
"""Header of a resent record: position of its dead letter, as topic/partition/offset."""
_NAMES = {f"{HEADER_PREFIX}error.{name.replace('_', '.')}": name for name in DeadLetterHeaders.model_fields}
SOURCES_NAMED = 3

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Letter:
    """Dead letter: its position, its cause, and the record as received."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    cause: DeadLetterHeaders
    key: bytes | None
    value: bytes | None
    headers: Headers
    """Headers as received, without those that the worker added."""

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
        """Return True if the record was resent once before and failed again."""
        return any(name == HEADER_REDRIVEN for name, _ in self.headers)


def read_letter(record: IncomingRecord) -> Letter:
    """Read a record of the dead-letter topic.

    Raises:
        ContractError: the headers state no cause, so no worker wrote the record.
    """
    # The worker's headers are the last ones: the record itself may have had headers with the same names.
    added = tuple(record.headers[-len(_NAMES) :])
    given = {_NAMES[name]: (text or b"").decode("utf-8", "replace") for name, text in added if name in _NAMES}
    try:
        cause = DeadLetterHeaders.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ContractError(
            f"{record.topic} {record.partition}:{record.offset} is not a dead letter of Faultline: "
            f"{HEADER_PREFIX}error.{first['loc'][0]}: {first['msg']}"
        ) from None
    received = tuple(record.headers[: -len(_NAMES)])
    place = record.topic, record.partition, record.offset
    return Letter(*place, record.timestamp, cause, record.key, record.value, received)


@dataclass(frozen=True)
class LetterFilter:
    """Filter of letters; an empty set matches all."""

    reasons: frozenset[str] = frozenset()
    lines: frozenset[str] = frozenset()
    before_ms: int | None = None

    def wants(self, letter: Letter) -> bool:
        """Return True if a letter matches the reasons and lines and is old enough."""
        return (
            (not self.reasons or letter.cause.reason in self.reasons)
            and (not self.lines or letter.source in self.lines)
            and (self.before_ms is None or letter.timestamp_ms < self.before_ms)
        )


@dataclass
class ReasonCount:
    """Summary of all letters with one reason."""

    reason: str
    letters: int = 0
    first_ms: int = 0
    last_ms: int = 0
    example: str = ""
    """Position of the newest letter, for ``faultline dlq show``."""
    message: str = ""
    sources: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Return the summary for JSON, with times in RFC 3339 and the most frequent sources."""
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
        """Return the sources with the most letters, and the number of each."""
        return sorted(self.sources.items(), key=lambda one: -one[1])[:SOURCES_NAMED]


def count_reasons(letters: Iterable[Letter]) -> list[ReasonCount]:
    """Return the letters counted by reason, the most frequent reason first."""
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
    """Return the headers of the resent record: those received, and the position of its dead letter."""
    kept = [(name, text) for name, text in letter.headers if name != HEADER_REDRIVEN]
    return [*kept, (HEADER_REDRIVEN, f"{letter.topic}/{letter.partition}/{letter.offset}".encode())]


def parse_place(text: str) -> tuple[int, int]:
    """Parse ``partition:offset``.

    Raises:
        ContractError: the text has another form.

    Example:
        >>> parse_place("3:1207")
        (3, 1207)
    """
    partition, colon, offset = text.partition(":")
    if not (colon and partition.isdecimal() and offset.isdecimal()):
        raise ContractError(
            f"{text!r} is not a position: give PARTITION:OFFSET as `faultline dlq list` prints it, e.g. 3:1207"
        )
    return int(partition), int(offset)


def time_text(timestamp_ms: int) -> str:
    """Return a Unix time in ms as RFC 3339 text in UTC."""
    at = datetime.fromtimestamp(max(0, timestamp_ms) / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def dump(value: bytes, limit: int = 256) -> str:
    """Return the first bytes in hexadecimal and as text, sixteen per line."""
    rows = []
    for begin in range(0, min(len(value), limit), 16):
        row = value[begin : begin + 16]
        text = "".join(chr(one) if 32 <= one < 127 else "." for one in row)
        rows.append(f"{begin:06x}  {row.hex(' '):<47}  {text}")
    return "\n".join(rows)
