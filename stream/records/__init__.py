"""Records of waveforms: files of fault recorders, relays and programs, whatever their shape, as lines of windows.

Example:
    >>> from model.spec import load_spec
    >>> record = open_record("fault.cfg")  # doctest: +SKIP
    >>> for finding in record.findings:  # doctest: +SKIP
    ...     print(finding)
    >>> runs = windows_of(record.lines[0], load_spec("line"))  # doctest: +SKIP
"""

from stream.records.errors import RecordError
from stream.records.reader import is_record, open_record
from stream.records.record import CHANNELS, Finding, ReadOptions, Record, RecordLine, Segment
from stream.records.resample import WindowRun, messages_of, windows_of

__all__ = [
    "CHANNELS",
    "Finding",
    "ReadOptions",
    "Record",
    "RecordError",
    "RecordLine",
    "Segment",
    "WindowRun",
    "is_record",
    "messages_of",
    "open_record",
    "windows_of",
]
