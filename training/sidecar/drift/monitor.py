"""Looks for drift in what is gathered: features of the windows, and how sure the champion is of a sample of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import structlog

from model.artefact import Artefact
from model.engine import Engine
from model.files import write_text_atomic
from model.spec import SignalSpec
from stream.detection.decode import NS, DecodedBatch, LineWindows
from stream.settings import Settings
from training.sidecar.drift.detector import DriftDetector, DriftPolicy, DriftSignal
from training.sidecar.metrics import TrainerMetrics

log = structlog.get_logger(__name__)

# Medians of so many windows stand still; more would only cost.
RECORDS_OF_BUCKET = 4
MOST_OF_RECORD = 24
# Beyond so many it is forgotten when they were shown last, and all are shown once more.
MOST_LINES = 100_000


def drift_policy(settings: Settings) -> DriftPolicy:
    """When a change counts as drift, by the settings."""
    return DriftPolicy(
        reference_s=settings.drift_reference_s,
        lasting_s=settings.drift_lasting_s,
        cool_down_s=settings.drift_pause_s,
    )


class DriftWatch:
    """One detector and the champion that it asks. Not for two threads at once: it belongs to the store's.

    Args:
        spec: of the windows.
        policy: when a change counts.
        path: of the state that outlives a restart.
        metrics: signals are counted here.
    """

    def __init__(self, spec: SignalSpec, policy: DriftPolicy, path: Path, metrics: TrainerMetrics) -> None:
        self._spec, self._policy, self._path, self._metrics = spec, policy, path, metrics
        self._engine: Engine | None = None
        self._champion: Artefact | None = None
        self._shown_ns: dict[str, int] = {}
        self._detector = self._restored()

    def _restored(self) -> DriftDetector:
        try:
            state = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return DriftDetector(self._spec, self._policy)
        return DriftDetector.restored(state, self._spec, self._policy)

    def use(self, champion: Artefact | None, *, afresh: bool = False) -> None:
        """Ask another champion from now on.

        Args:
            champion: None where there is none; its confidence is then not watched.
            afresh: compare with what comes from now on: the champion has just been trained on what is new. So it is
                also where one known champion takes the place of another, however it came: it is unsure of other
                windows, and what the last one was sure of is no measure for it.
        """
        known = self._champion
        if champion is not None and known is not None and champion.model_id == known.model_id:
            return
        if self._engine is not None:
            self._engine.close()
        # One thread and one size of batch: the trainer is a guest on its machine.
        size = (self._policy.windows_per_update,)
        self._engine = None if champion is None else Engine(champion, threads=1, buckets=size)
        self._champion = champion
        rejection = None if champion is None else champion.manifest.rejection
        if afresh or known is not None:
            self._detector = self._detector.afresh(rejection)
        else:
            self._detector = DriftDetector.restored(self._detector.state(), self._spec, self._policy, rejection)

    def look(self, batch: DecodedBatch) -> str | None:
        """Show a batch to the detector; returns what it found, in words.

        Of every line some records of every bucket are shown, however fast they come: a backlog is looked at as closely
        as what is live, and many windows a second cost no more than few.
        """
        shown = [entry for entry in batch.records if self._to_be_shown(entry)]
        found: DriftSignal | None = None
        most = max(1, self._policy.windows_per_update // MOST_OF_RECORD)
        for first in range(0, len(shown), most):
            found = self._show(batch, shown[first : first + most]) or found
        if found is None:
            return None
        self._metrics.drift_signals.labels(found.feature).inc()
        log.warning("drift-found", feature=found.feature, before=found.before, after=found.after, at_ns=found.at_ns)
        return found.reason

    def _to_be_shown(self, entry: LineWindows) -> bool:
        last_ns = self._shown_ns.get(entry.line)
        apart_ns = round(self._policy.bucket_s * NS / RECORDS_OF_BUCKET)
        if last_ns is not None and 0 <= entry.start_ns - last_ns < apart_ns:
            return False
        if len(self._shown_ns) >= MOST_LINES:
            self._shown_ns.clear()
        self._shown_ns[entry.line] = entry.start_ns
        return True

    def _show(self, batch: DecodedBatch, entries: Sequence[LineWindows]) -> DriftSignal | None:
        lines: list[str] = []
        rows, starts = [], []
        for entry in entries:
            within = np.unique(np.linspace(0, entry.count - 1, min(entry.count, MOST_OF_RECORD)).astype(np.int64))
            rows.append(entry.first + within)
            starts.append(entry.start_ns + np.round(within * (self._spec.hop * NS / entry.rate_hz)).astype(np.int64))
            lines += [entry.line] * len(within)
        windows = np.ascontiguousarray(batch.windows[np.concatenate(rows)])
        probabilities = None if self._engine is None else self._engine.classify(windows)
        return self._detector.update(lines, np.concatenate(starts), windows, probabilities)

    def save(self) -> None:
        """Keep the state for a restart; a disk that takes it not costs no more than the reference."""
        try:
            write_text_atomic(self._path, self._detector.state())
        except OSError as error:
            log.warning("drift-state-not-kept", error=str(error))

    def close(self) -> None:
        """End the engine."""
        if self._engine is not None:
            self._engine.close()
