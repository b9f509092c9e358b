"""Detect the encoding of text, since recorders write headers in the local code page of Windows."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from domains.powerline.waveforms.errors import RecordError

BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
CANDIDATES = ("gb18030", "cp1251", "cp866", "koi8-r", "cp1252", "cp1250", "latin-1")
"""Encodings in order of preference among equally plausible ones; latin-1 decodes any bytes and comes last."""
HEAD_BYTES = 4096
WIDE_SHARE = 0.3
"""Share of null bytes at every second position from which text is UTF-16; names of other alphabets have none there."""
JUDGED_LETTERS = 100_000
"""Number of letters by which the plausibility of an encoding is judged."""
_LONG_ASCII = re.compile(r"[\x00-\x7f]{80,}")
CHINESE_WORDS = "相电流压线路母变侧保护零序高低中开关站所启动时间回主接地测量备用差安伏千"
RUSSIAN_WORDS = re.compile(
    r"ток|напр|фаз|лини|шин|ввод|секц|яч|пс|вл|ку?в|нейтр|транс|осцил|регистр|сторон", re.IGNORECASE
)
CENTRAL_WORDS = re.compile(
    r"nap[ěä]t|proud|napi[ęe]ci|pr[ąa]d|zem[nň]|linie|vedení|přípoj|vývod|fáz|feszül|áram|přen", re.IGNORECASE
)
WESTERN = set("äöüßéèêëàâáåãõóôòíîïìúûùçñøæÄÖÜÉÈÀÁÅÃÕÓÔÍÚÇÑØÆ°²³µ·ºª")
CENTRAL = set("ąćęłńóśźżčďěňřšťůžőűĄĆĘŁŃÓŚŹŻČĎĚŇŘŠŤŮŽŐŰáéíýúÁÉÍÝÚöüÖÜäô")


def decode_text(data: bytes, encoding: str | None, path: Path) -> tuple[str, str]:
    """Decode text, and return it with its encoding.

    Args:
        data: the bytes.
        encoding: encoding to use; None to detect it from the content.
        path: the file, for messages.

    Returns:
        The text and the name of its encoding.

    Raises:
        RecordError: the given encoding is unknown, or the bytes are not valid in it.
    """
    if encoding is not None:
        try:
            return data.decode(encoding), encoding
        except LookupError:
            raise RecordError(
                f"{path}: unknown encoding {encoding!r}; try utf-8, gbk, cp1251, cp866 or latin-1"
            ) from None
        except UnicodeError as error:
            at = getattr(error, "start", 0)
            raise RecordError.at_byte(
                path, at, f"the text is not valid {encoding}: omit --encoding to have the encoding detected"
            ) from None
    for mark, name in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data.decode(name, "replace"), name
    wide = _wide_encoding(data)
    if wide:
        return data.decode(wide, "replace"), wide
    try:
        return data.decode("utf-8"), "ascii" if data.isascii() else "utf-8"
    except UnicodeDecodeError:
        pass
    best = max(_scores(data), key=lambda score: score[0])[1]
    return data.decode(best), best


def _wide_encoding(data: bytes) -> str:
    """Return the encoding of UTF-16 without a byte order mark, in which commas and digits have a null byte; or ""."""
    pairs = {name: data[first:HEAD_BYTES:2].count(0) for name, first in (("utf-16-be", 0), ("utf-16-le", 1))}
    name = max(pairs, key=lambda one: pairs[one])
    half = len(data[:HEAD_BYTES]) // 2
    plain = sum(pairs.values()) - pairs[name] <= 0.02 * half
    return name if half >= 8 and pairs[name] > WIDE_SHARE * half and plain else ""


def _scores(data: bytes) -> list[tuple[float, str]]:
    """Return plausibility and name of every encoding that can decode the bytes."""
    scores = []
    for name in CANDIDATES:
        try:
            text = data.decode(name)
        except UnicodeDecodeError:
            continue
        scores.append((_plausibility(_LONG_ASCII.sub(" ", text)[:JUDGED_LETTERS], name), name))
    return scores


def _plausibility(text: str, encoding: str) -> float:
    """Return a score of how well the text fits the encoding's languages: known words weigh most, then usual letters."""
    non_ascii = [char for char in text if ord(char) > 127]
    if encoding == "gb18030":
        # GB 2312 lists the common hanzi first; Cyrillic text read as GBK gives rare hanzi from after them.
        common = sum(char in CHINESE_WORDS for char in non_ascii)
        usual = sum(b"\xb0" <= char.encode("gb18030")[:1] <= b"\xd7" for char in non_ascii)
        return 4.0 * common / len(non_ascii) + 0.5 * usual / len(non_ascii)
    if encoding in ("cp1251", "cp866", "koi8-r"):
        words = re.findall(r"[^\W\d_]+", text)
        cyrillic = [word for word in words if re.fullmatch(r"[А-Яа-яЁё]+", word)]
        # In the wrong Cyrillic encoding, lower and upper case alternate within a word.
        cased = sum(len(word) for word in cyrillic if word.islower() or word.isupper() or word.istitle())
        known = sum(len(match) for match in RUSSIAN_WORDS.findall(" ".join(cyrillic)))
        return (1.2 * cased + 3.0 * known) / len(non_ascii)
    usual_letters = CENTRAL if encoding == "cp1250" else WESTERN
    share = sum(char in usual_letters for char in non_ascii) / len(non_ascii)
    # Accented letters occur among plain ones; a word of only accented letters belongs to another alphabet.
    alone = sum(len(word) for word in re.findall(r"[^\x00-\x7f]{3,}", text)) / len(non_ascii)
    known = encoding == "cp1250" and any(not match.isascii() for match in CENTRAL_WORDS.findall(text))
    return (
        0.3 * known
        + {"cp1252": 1.0, "cp1250": 0.9, "latin-1": 0.1}[encoding] * share
        - alone
        + (0.01 if encoding != "latin-1" else 0)
    )
