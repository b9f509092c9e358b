"""Read what the text beside a COMTRADE record says of the event: the files .hdr (free text) and .inf (keys).

A single file (CFF) has both as sections. Recorders write them in their own language and encoding, some as XML.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.encodings import decode_text
from domains.powerline.waveforms.record import Statement

SUFFIXES = (".hdr", ".inf")
MAX_BYTES = 256 << 10
"""Number of bytes that are read of a companion; the event is described at the start."""
MOST_STATEMENTS = 6
"""Number of statements that are taken from one companion."""
MAX_STATEMENT = 200
"""Length at which the text of a statement is cut."""
FIRST_LINES = 2
"""Number of lines of a .hdr that are taken if none of them speaks of an event."""
KEYWORDS = re.compile(
    r"\b(faults?|faulted|fltyp\w*|flt|trip(s|ped|ping)?|events?|locat(ion|or)|distance|durations?|targets?|pick-?up|"
    r"short[- ]circuit|fault(ed)?[_ ]?(type|phases?|location|loc|duration|current)|event[_ ]?\w*|"
    r"fehler\w*|störung\w*|kurzschlu\w*|erdschlu\w*|auslös\w*|anregung\w*|entfernung|dauer|fehlerort|"
    r"fallas?|disparos?|distancia|duración|cortocircuito|evento|falta|curto|distância|duração|"
    r"défauts?|déclenche\w*|durée|court-circuit|guasto|scatto|distanza|zwarcie|wyłączenie)\b"
    r"|кз|авари|замыкан|отключ|срабат|расстоян|поврежд|пуск|длительн"
    r"|故障|跳闸|动作|相别|测距|选相|启动时间|短路|接地|保护出口",
    re.IGNORECASE,
)
"""Words of lines that speak of the event."""
_SETTING = re.compile(r"[=:]{1,2}\s*(off|none|disabled?|n/?a)?\s*$", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([^\s<>/!?]{1,60})[^<>]{0,400}>|<[^<>]{0,400}>|([^<>]+)")
_VALUE_TAGS = {"name", "value", "phase", "time", "unit", "text", "description", "desc"}
"""Tags of XML whose names add nothing to their text."""


def statements_beside(header: Path, encoding: str | None) -> tuple[Statement, ...]:
    """Return the statements in the .hdr and .inf files of a record; files that cannot be read have none.

    Args:
        header: the .cfg of the record.
        encoding: encoding of the text; None to detect it.
    """
    try:
        siblings = sorted(header.parent.iterdir())
    except OSError:
        return ()
    found: list[Statement] = []
    stem = header.stem.lower()
    for suffix in SUFFIXES:
        for path in siblings:
            if path.suffix.lower() == suffix and path.stem.lower() == stem:
                found += statements_in(_start_of(path), path.name, path, encoding)
                break
    return tuple(found)


def statements_in(data: bytes, source: str, path: Path, encoding: str | None) -> tuple[Statement, ...]:
    r"""Return the statements of one text about the event.

    Args:
        data: the text; only its start is used.
        source: name for people, whose end tells the kind: ``fault.hdr``, ``INF``.
        path: the file, for messages.
        encoding: encoding of the text; None to detect it.

    Example:
        >>> statements_in(b"Relay 7\nFault type: AG\nFault location: 12.3 km", "a.hdr", Path("a.hdr"), None)[0].text
        'Fault type: AG'
    """
    data = data[:MAX_BYTES]
    if b"\x00" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return ()
    try:
        text, _ = decode_text(data, encoding, path)
    except RecordError:
        # The option names the encoding of the .cfg; a companion may have another one.
        text, _ = decode_text(data, None, path)
    lines = list(dict.fromkeys(_clean(_lines(text))))
    chosen = [line for line in lines if KEYWORDS.search(line) and not _SETTING.search(line)]
    if not chosen and source.lower().endswith("hdr"):
        chosen = lines[:FIRST_LINES]
    return tuple(Statement(source, _cut(line)) for line in chosen[:MOST_STATEMENTS])


def _start_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES)
    except OSError:
        return b""


def _lines(text: str) -> Iterable[str]:
    """Return the lines of plain text, the keys of an INI file without its sections, or the elements of XML."""
    if re.match(r"\s*<[?!A-Za-z]", text):
        return _elements(text)
    return (line for line in text.splitlines() if not re.match(r"\s*\[.*\]\s*$", line))


def _elements(text: str) -> Iterator[str]:
    """Yield the text of each element of XML as one line; a name, a value and the like form one line together."""
    parts: list[str] = []
    tag = ""
    for found in _TAG.finditer(text):
        slash, name, content = found.groups()
        if content is not None:
            if content.strip():
                parts.append(content.strip() if tag.lower() in ("", *_VALUE_TAGS) else f"{tag}: {content.strip()}")
        elif name is not None:
            if parts and name.lower() not in _VALUE_TAGS:
                yield " ".join(parts)
                parts = []
            tag = "" if slash else name
    if parts:
        yield " ".join(parts)


def _clean(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines that have letters, without control characters and repeated spaces."""
    for line in lines:
        printable = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in line[:2000])
        plain = re.sub(r"^=+ ?| ?={2,}$", "", " ".join(printable.split()).strip("-*#; "))
        if sum(char.isalpha() for char in plain) >= 2:
            yield re.sub(r"^([\w .#/]{1,60}?)\s*=\s*", r"\1: ", plain)


def _cut(line: str) -> str:
    return line if len(line) <= MAX_STATEMENT else f"{line[: MAX_STATEMENT - 1]}…"
