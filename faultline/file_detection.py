"""Detect fault episodes in waveform files: several files in parallel, where an error affects only its own file.

Every line gets a verdict: "fault", "no fault", or "not judged" with its reason.

Example:
    >>> from faultline.file_detection import detect
    >>> for result in detect(["a.cfg", "b.cff", "c.csv"]):  # doctest: +SKIP
    ...     print(result.path, result.verdict, [episode.fault_class for episode in result.episodes], result.reason)
    a.cfg fault ['BG']
    b.cff no fault []
    c.csv not judged [] the record lasts 14.8 ms, too short for a window of 20 ms: give a longer record
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domains.powerline.events import PowerLineFaultEvent
from domains.powerline.waveforms import ReadOptions, Record, RecordLine, messages_of, open_waveforms
from domains.powerline.waveforms.batch import expanded
from faultline.alternatives import settled
from faultline.answers import FaultEpisode, FileResult, LineAnswer
from faultline.verdicts import WindowLog, judge
from model.artefact import Artefact, shipped
from model.engine import Engine
from model.errors import FaultlineError
from model.spec import EpisodePolicy, SignalSpec
from stream.contract import NS_PER_S, FaultEvent
from stream.detection.classify import Classifier
from stream.detection.decode import WindowRecord
from stream.detection.offline import Detector, batched

BUCKETS = (32, 128, 512)
"""Compiled batch sizes in windows. Records have tens to thousands of windows, and each size takes time to compile."""
WAITING = 2
"""Number of files read ahead of the one whose result is due; the bound limits memory."""


def load_artefact(model: str | Path | None) -> Artefact:
    """Return the artefact with a path or with the name of a shipped one; None is the shipped ``line`` model.

    Raises:
        ArtefactError: if there is no such artefact, or it cannot be used.
    """
    if model is None:
        return shipped("line")
    path = Path(model)
    return Artefact.load(path) if path.suffix or path.exists() else shipped(str(model))


def detect(
    paths: Iterable[str | Path],
    *,
    model: str | Path | Engine | None = None,
    options: ReadOptions | None = None,
    policy: EpisodePolicy | None = None,
    jobs: int | None = None,
) -> Iterator[FileResult]:
    """Yield the result of each file in the order of ``paths``; several files are read in parallel.

    Args:
        paths: files of any format that ``open_waveforms`` reads; a folder or a .zip stands for all records in it.
        model: path of an artefact, name of a shipped one, or an engine; the shipped ``line`` model by default.
        options: options for reading, the same for all files.
        policy: rule by which windows open and close an episode; the spec's own by default.
        jobs: number of files processed at the same time; one per core by default.

    Yields:
        One result per record. A file that cannot be read or classified gives a result with ``error`` set.

    Raises:
        ArtefactError: if the model cannot be used.
    """
    engine = model if isinstance(model, Engine) else Engine(load_artefact(model), buckets=BUCKETS)
    jobs = jobs or min(os.cpu_count() or 1, 8)
    try:
        with ThreadPoolExecutor(jobs, thread_name_prefix="classify") as pool:
            waiting: deque[Future[FileResult]] = deque()
            for path in expanded(paths, options):
                waiting.append(pool.submit(_one_file, path, engine, options, policy))
                if len(waiting) >= jobs + WAITING:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        if engine is not model:
            engine.close()


def classify_record(record: Record, engine: Engine, *, policy: EpisodePolicy | None = None) -> tuple[LineAnswer, ...]:
    """Return the result of every line of an open record; none if it has no line (``Record.no_line`` is the reason).

    A line whose voltages are not certain is classified with each of its alternatives; if the answers differ, it is not
    judged.
    """
    spec = engine.spec
    return tuple(
        settled([answer_line(record, one, engine, spec, policy) for one in (line, *line.alternatives)], spec)
        for line in record.lines
    )


def answer_line(
    record: Record, line: RecordLine, classifier: Classifier, spec: SignalSpec, policy: EpisodePolicy | None = None
) -> LineAnswer:
    """Classify one line and collect its episodes with the detection of a worker.

    Args:
        record: record of the line.
        line: one of the record's lines.
        classifier: an engine.
        spec: spec of the classifier.
        policy: rule by which windows open and close an episode; the spec's own by default.

    Returns:
        The events, episodes and probabilities of the line, and the verdict; ``line.alternatives`` are not considered.

    Example:
        >>> answer = answer_line(record, record.lines[0], engine, engine.spec)  # doctest: +SKIP
        >>> answer.verdict, answer.episodes[0].fault_class  # doctest: +SKIP
        ('fault', 'BG')
    """
    detector = Detector(classifier, spec, policy)
    log = WindowLog(line, spec, classifier)
    events: list[FaultEvent] = []
    probabilities: list[NDArray[np.float32]] = []
    outcomes: Counter[str] = Counter()
    for messages in batched(_window_records(record, line, spec)):
        found = detector.process(messages)
        events += found.events
        probabilities.append(found.probabilities)
        outcomes += found.outcomes
        outcomes["dead"] += len(found.batch.dead)
        log.add(found)
    judgement = judge(log, policy or spec.episode, events)
    return LineAnswer(
        line=line,
        events=tuple(events),
        episodes=tuple(_episodes(events, record, line)),
        window_end_s=log.ends_s,
        probabilities=np.concatenate(probabilities) if probabilities else np.empty((0, len(spec.classes)), np.float32),
        outcomes=+outcomes,
        verdict=judgement.verdict,
        reason=judgement.reason,
        findings=judgement.findings,
    )


def _window_records(record: Record, line: RecordLine, spec: SignalSpec) -> Iterator[tuple[WindowRecord, int]]:
    key = line.name.encode()
    for offset, message in enumerate(messages_of(line, spec)):
        time_ms = message.end_ns // 1_000_000
        yield WindowRecord(record.path.name, 0, offset, time_ms, key, message.value), message.count


def _episodes(events: list[FaultEvent], record: Record, line: RecordLine) -> Iterator[FaultEpisode]:
    """Yield the episodes in the order of their first events."""
    for identity in dict.fromkeys(event.episode_id for event in events):
        own = [e for e in events if isinstance(e, PowerLineFaultEvent) and e.episode_id == identity]
        steps = [event for event in own if event.state != "clear"]
        onset, last, end = own[0], steps[-1], own[-1]
        yield FaultEpisode(
            file=str(record.path),
            line=line.name,
            episode_id=identity,
            fault_class=last.fault_class,
            fault_type=last.fault_type,
            phases=last.phases,
            ground=last.ground,
            ground_probability=last.ground_probability,
            confidence=last.confidence,
            classes=[event.fault_class for event in steps],
            inception_ns=onset.inception_ns,
            inception_s=round((onset.inception_ns - line.start_ns) / NS_PER_S, 6),
            detection_s=round((onset.detection_ns - line.start_ns) / NS_PER_S, 6),
            duration_s=end.duration_s,
            duration_cycles=end.duration_cycles,
            quality=end.quality,
            model_id=onset.model_id,
        )


def _one_file(path: Path, engine: Engine, options: ReadOptions | None, policy: EpisodePolicy | None) -> FileResult:
    record = None
    try:
        record = open_waveforms(path, options=options)
        return FileResult(path, record, classify_record(record, engine, policy=policy))
    except FaultlineError as error:
        return FileResult(path, record, error=str(error))
    except (MemoryError, OSError) as error:
        return FileResult(path, record, error=f"{path}: cannot be read: {error or type(error).__name__}")
