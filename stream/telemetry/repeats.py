"""Log a warning or an error that repeats once in an interval, with the number of repeats left out.

aiokafka retries without a pause that grows: a worker whose broker is killed logs 12,000 lines a minute, nearly all of
them five messages.
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
"""Different messages remembered, some 300 kB; beyond, the one that was logged longest ago is forgotten."""
MOST_CHARACTERS = 300
"""A message is compared by its beginning: the rest of a long one, such as a dump, rarely tells messages apart."""
NUMBER = re.compile(r"0x[0-9a-f]+|\d+")
"""Messages that differ only in numbers (a node, a port, an attempt, an address in memory) are repeats."""
COUNT = "repeats_not_logged"


@dataclass(slots=True)
class _Message:
    logged_s: float
    left_out: int = 0


class RepeatFilter(logging.Filter):
    """Drop records from warning on that repeat one logged less than ``interval_s`` ago; attach to a handler.

    The first record of a message is never dropped, and the next one that passes has the number of those dropped since
    as the attribute ``repeats_not_logged``. Records below warning always pass: each of them, such as ``fault-event``,
    says something of its own.

    Args:
        interval_s: seconds between two records of the same message; 0 lets all pass.
        clock_s: monotonic.
    """

    def __init__(self, interval_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._interval_s, self._clock_s = interval_s, clock_s
        self._messages: OrderedDict[tuple[str, int, str], _Message] = OrderedDict()
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for a record that repeats one logged a moment ago."""
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
    """Return what two records of one message have in common: text, values and exception, without their numbers."""
    if isinstance(record.msg, dict):  # one of structlog's
        apart = ("event", "timestamp", "exc_info")
        values = (f" {name}={value}" for name, value in record.msg.items() if name not in apart)
        text = f"{record.msg.get('event')}{''.join(values)}"
    else:
        try:
            text = record.getMessage()
        except (TypeError, ValueError):  # arguments that do not fit; the handler reports it
            text = str(record.msg)
    if isinstance(record.exc_info, tuple) and record.exc_info[0] is not None:
        text = f"{record.exc_info[0].__name__} {text}"
    return NUMBER.sub("#", text[:MOST_CHARACTERS])


def add_count(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the number of repeats that were left out before this record: a processor of ``ProcessorFormatter``."""
    left_out = getattr(event.get("_record"), COUNT, 0)
    if left_out:
        event[COUNT] = left_out
    return event
