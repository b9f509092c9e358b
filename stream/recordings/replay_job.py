"""Open a file for a replay: the kinds of file there are, and as many lines as asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model.domain import domain_of
from model.spec import SignalSpec
from stream.recordings.sources import RECORDING, Source, SourceKind, SourceOptions, kind_of, located, open_source


def open_replay(path: Path, spec: SignalSpec, options: SourceOptions | None = None, read: Any = None) -> Source:
    """Open a file for a replay, as many lines where that is asked for.

    Args:
        path: a recording, or a file of a kind that the spec's domain knows.
        spec: of the windows that are made of the file, and that are made many lines.
        options: which part of it and how.
        read: what is known of the file better than it tells, as the domain wants it: see ``Domain.sources``.

    Raises:
        RecordingError: the file cannot be replayed, or not as many lines.
        SpecError: the domain cannot make lines of a line.
    """
    options = options or SourceOptions()
    domain = domain_of(spec)
    kinds: tuple[SourceKind, ...] = (RECORDING, *domain.sources(spec, read))
    found = located(path, kinds)
    source = open_source(found, options, kinds)
    if options.lines is None or kind_of(found, kinds).cuts_lines:
        return source
    fanned_out: Source = domain.fan_out(source, options.lines, spec)
    return fanned_out
