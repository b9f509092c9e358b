"""Files of waveforms → episodes: many files side by side, each failing alone.

Example:
    >>> from faultline.detect import classify
    >>> for result in classify(["a.cfg", "b.cff"]):  # doctest: +SKIP
    ...     print(result.path, result.error or [episode.fault_class for episode in result.episodes])
    a.cfg ['BG']
    b.cff []
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from domains.powerline.waveforms import ReadOptions, Record, open_record
from domains.powerline.waveforms.errors import RecordError
from faultline.episodes_of import FaultEpisode, LineAnswer, answer_line
from model.artefact import Artefact, shipped
from model.engine import Engine
from model.errors import FaultlineError
from model.spec import EpisodePolicy
from stream.detection.episodes import EpisodeTracker

BUCKETS = (32, 128, 512)
"""Sizes compiled: a record has tens to thousands of windows, and every size takes its time to compile."""
WAITING = 2
"""Files read ahead of the one whose result is due: bounds memory."""


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file.

    Attributes:
        path: of the file.
        record: as it was read; None where it could not be.
        answers: of every line.
        error: why there is no answer; None where there is one.
    """

    path: Path
    record: Record | None = None
    answers: tuple[LineAnswer, ...] = ()
    error: str | None = None

    @property
    def episodes(self) -> tuple[FaultEpisode, ...]:
        """Of all lines, by inception."""
        found = [episode for answer in self.answers for episode in answer.episodes]
        return tuple(sorted(found, key=lambda episode: (episode.inception_ns, episode.line)))

    @property
    def outcomes(self) -> Counter[str]:
        """Windows by what became of them, over all lines."""
        return sum((answer.outcomes for answer in self.answers), Counter())

    @property
    def windows(self) -> int:
        """Windows classified."""
        return sum(len(answer.probabilities) for answer in self.answers)


def load_artefact(model: str | Path | None) -> Artefact:
    """An artefact by its path, the name of a shipped one, or None for the shipped `line` model."""
    if model is None:
        return shipped("line")
    path = Path(model)
    return Artefact.load(path) if path.suffix or path.exists() else shipped(str(model))


def classify_record(record: Record, engine: Engine, *, policy: EpisodePolicy | None = None) -> tuple[LineAnswer, ...]:
    """Episodes of every line of an open record.

    Raises:
        RecordError: no line is certain; the message says what to do.
    """
    if not record.lines:
        doubts = [str(finding) for finding in record.findings if finding.code in ("ambiguous-channels", "no-line")]
        raise RecordError(f"{record.path}: {'; '.join(doubts[:2])} (see faultline inspect)")
    tracker = EpisodeTracker(engine.spec, policy)
    return tuple(answer_line(record, line, engine, tracker) for line in record.lines)


def classify(
    paths: Iterable[str | Path],
    *,
    model: str | Path | Engine | None = None,
    options: ReadOptions | None = None,
    policy: EpisodePolicy | None = None,
    jobs: int | None = None,
) -> Iterator[FileResult]:
    """Episodes of files, in the order of ``paths``, read side by side. A bad file fails alone.

    Args:
        paths: COMTRADE, CSV or Parquet files.
        model: an artefact's path, a shipped one's name, or an engine; the shipped `line` model by default.
        options: for reading, the same for all.
        policy: when windows make an episode; the spec's own by default.
        jobs: files in work at once; one per core by default.

    Yields:
        One result per path; those that failed have ``error`` set.

    Raises:
        ArtefactError: the model cannot be used.
    """
    engine = model if isinstance(model, Engine) else Engine(load_artefact(model), buckets=BUCKETS)
    jobs = jobs or min(os.cpu_count() or 1, 8)
    try:
        with ThreadPoolExecutor(jobs, thread_name_prefix="classify") as pool:
            waiting: deque[Future[FileResult]] = deque()
            for path in paths:
                waiting.append(pool.submit(_one_file, Path(path), engine, options, policy))
                if len(waiting) >= jobs + WAITING:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        if engine is not model:
            engine.close()


def _one_file(path: Path, engine: Engine, options: ReadOptions | None, policy: EpisodePolicy | None) -> FileResult:
    record = None
    try:
        record = open_record(path, options=options)
        return FileResult(path, record, classify_record(record, engine, policy=policy))
    except FaultlineError as error:
        return FileResult(path, record, error=str(error))
    except (MemoryError, OSError) as error:
        return FileResult(path, record, error=f"{path}: cannot be read: {error or type(error).__name__}")
