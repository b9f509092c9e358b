"""Looks for drift in what is gathered: features of the windows, and how sure the champion is of a sample of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import structlog

from faultline.trainer.metrics import TrainerMetrics
from faultline.trainer.order import write_whole
from model.artefact import Artefact
from model.engine import Engine
from model.spec import SignalSpec
from stream.decode import NS, DecodedBatch
from stream.settings import Settings
from training.sidecar.drift import DriftDetector, DriftPolicy

log = structlog.get_logger(__name__)


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
            afresh: compare with what comes from now on: the champion has just been trained on what is new.
        """
        if champion is not None and self._champion is not None and champion.model_id == self._champion.model_id:
            return
        if self._engine is not None:
            self._engine.close()
        # One thread and one size of batch: the trainer is a guest on its machine.
        size = (self._policy.windows_per_update,)
        self._engine = None if champion is None else Engine(champion, threads=1, buckets=size)
        self._champion = champion
        rejection = None if champion is None else champion.manifest.rejection
        if afresh:
            self._detector = DriftDetector(self._spec, self._policy, rejection)
        else:
            self._detector = DriftDetector.restored(self._detector.state(), self._spec, self._policy, rejection)

    def look(self, batch: DecodedBatch) -> str | None:
        """Show a batch to the detector; returns what it found, in words."""
        count = np.array([entry.count for entry in batch.records])
        record = np.repeat(np.arange(len(count)), count)
        within = np.arange(len(record)) - np.repeat(np.cumsum(count) - count, count)
        begin = np.array([entry.start_ns for entry in batch.records], np.int64)
        hop_ns = np.array([self._spec.hop * NS / entry.rate_hz for entry in batch.records])
        most = self._policy.windows_per_update
        chosen = np.unique(np.linspace(0, len(record) - 1, min(most, len(record))).astype(np.intp))
        record = record[chosen]
        windows = np.ascontiguousarray(batch.windows[chosen])
        signal = self._detector.update(
            [batch.records[number].line for number in record],
            begin[record] + np.round(within[chosen] * hop_ns[record]).astype(np.int64),
            windows,
            None if self._engine is None else self._engine.classify(windows),
        )
        if signal is None:
            return None
        self._metrics.drift_signals.labels(signal.feature).inc()
        log.warning("drift-found", feature=signal.feature, before=signal.before, after=signal.after, at_ns=signal.at_ns)
        return signal.reason

    def save(self) -> None:
        """Keep the state for a restart; a disk that takes it not costs no more than the reference."""
        try:
            write_whole(self._path, self._detector.state())
        except OSError as error:
            log.warning("drift-state-not-kept", error=str(error))

    def close(self) -> None:
        """End the engine."""
        if self._engine is not None:
            self._engine.close()
