"""Read waveform files of fault recorders, relays and programs, and cut their lines into windows.

Example:
    >>> from model.spec import load_spec
    >>> record = open_waveforms("fault.cfg")  # doctest: +SKIP
    >>> for finding in record.findings:  # doctest: +SKIP
    ...     print(finding)
    >>> runs = windows_of(record.lines[0], load_spec("line"))  # doctest: +SKIP
"""

from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.reader import is_record, open_waveforms
from domains.powerline.waveforms.record import CHANNELS, Finding, ReadOptions, Record, RecordLine, Segment, Statement
from domains.powerline.waveforms.signal.resample import SkippedPart, WindowRun, messages_of, skipped_parts, windows_of

__all__ = [
    "CHANNELS",
    "Finding",
    "ReadOptions",
    "Record",
    "RecordError",
    "RecordLine",
    "Segment",
    "SkippedPart",
    "Statement",
    "WindowRun",
    "is_record",
    "messages_of",
    "open_waveforms",
    "skipped_parts",
    "windows_of",
]
