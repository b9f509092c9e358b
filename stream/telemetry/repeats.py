"""Log a repeated warning or error once per interval, with the number of omitted repeats.

aiokafka retries at a constant, short interval: a worker whose broker is killed logs 12,000 lines a minute, nearly all
of them with one of five messages.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

MOST_MESSAGES = 1000
"""Maximum number of messages remembered, about 300 kB; beyond it, the message logged longest ago is forgotten."""
MOST_CHARACTERS = 300
"""Number of characters of a message that are compared; the rest, such as a dump, rarely distinguishes messages."""
NUMBER = re.compile(r"0x[0-9a-f]+|\d+")
"""Pattern of numbers. Messages that differ only in numbers (node, port, attempt, memory address) are repeats."""
PLACES = ("partition", "offset", "line", "label_id", "records", "windows_lost")
"""Values of Faultline's events that are compared with their numbers: they identify the records of a warning, or count
lost records, so that losses of two partitions are two messages."""
COUNT = "repeats_not_logged"


@dataclass(slots=True)
class _Message:
    logged_s: float
    left_out: int = 0


class RepeatFilter(logging.Filter):
    """Filter for a handler that drops a warning or error repeated within ``interval_s``.

    The first record of a message is never dropped. The next one that passes has the number of dropped records as the
    attribute ``repeats_not_logged``. Records below the level warning always pass, since each of them, such as
    ``fault-event``, has its own content.

    Args:
        interval_s: seconds between two records of the same message; 0 drops none.
        clock_s: returns monotonic seconds.
    """

    def __init__(self, interval_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._interval_s, self._clock_s = interval_s, clock_s
        self._messages: OrderedDict[tuple[str, int, str], _Message] = OrderedDict()
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for a record that repeats one logged within the interval."""
        if record.levelno < logging.WARNING or self._interval_s <= 0:
            return True
        key = record.name, record.levelno, message_of(record)
        now_s = self._clock_s()
        with self._lock:
            message = self._messages.get(key)
            if message is not None and now_s - message.logged_s < self._interval_s:
                message.left_out += 1
                return False
            if message is not None:
                setattr(record, COUNT, message.left_out)
            self._messages[key] = _Message(now_s)
            self._messages.move_to_end(key)
            if len(self._messages) > MOST_MESSAGES:
                self._messages.popitem(last=False)
        return True


def message_of(record: logging.LogRecord) -> str:
    """Return the text that identifies a message: event, values and exception, with numbers replaced by #.

    The values of ``PLACES`` keep their numbers.
    """
    place = ""
    if isinstance(record.msg, dict):  # from structlog
        apart = ("event", "timestamp", "exc_info", *PLACES)
        values = (f" {name}={value}" for name, value in record.msg.items() if name not in apart)
        text = f"{record.msg.get('event')}{''.join(values)}"
        place = "".join(f" {name}={record.msg[name]}" for name in PLACES if name in record.msg)
    else:
        try:
            text = record.getMessage()
        except (TypeError, ValueError):  # arguments do not fit the format; the handler reports it
            text = str(record.msg)
    if isinstance(record.exc_info, tuple) and record.exc_info[0] is not None:
        text = f"{record.exc_info[0].__name__} {text}"
    return NUMBER.sub("#", text[:MOST_CHARACTERS]) + place[:MOST_CHARACTERS]


def add_count(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the number of omitted repeats to a record; a processor for ``ProcessorFormatter``."""
    left_out = getattr(event.get("_record"), COUNT, 0)
    if left_out:
        event[COUNT] = left_out
    return event
