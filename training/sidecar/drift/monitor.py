"""Monitor the stored windows for drift, by their features and by the champion's confidence on a sample of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import structlog

from model.artefact import Artefact
from model.engine import Engine
from model.files import write_text_atomic
from model.spec import SignalSpec
from stream.contract import NS_PER_S
from stream.detection.decode import DecodedBatch, LineWindows
from stream.settings import Settings
from training.sidecar.drift.detector import DriftDetector, DriftPolicy, DriftSignal
from training.sidecar.metrics import SidecarMetrics

log = structlog.get_logger(__name__)

# Number of records sampled per line and bucket, and of windows per record. Medians of this many windows are stable, and
# more windows would only cost time.
RECORDS_OF_BUCKET = 4
WINDOWS_OF_RECORD = 24
# Number of lines beyond which all sampling times are dropped; each line is then sampled once more.
MAX_LINES = 100_000


def drift_policy(settings: Settings) -> DriftPolicy:
    """Return the drift policy set by the settings."""
    return DriftPolicy(
        reference_s=settings.drift_reference_s,
        lasting_s=settings.drift_lasting_s,
        cool_down_s=settings.drift_pause_s,
    )


class DriftMonitor:
    """Drift detector with an engine of the champion; it is not thread-safe and runs in the store's thread only.

    Args:
        spec: spec of the windows.
        policy: conditions under which a change counts as drift.
        path: file with the state for a restart.
        metrics: counts signals.
    """

    def __init__(self, spec: SignalSpec, policy: DriftPolicy, path: Path, metrics: SidecarMetrics) -> None:
        self._spec, self._policy, self._path, self._metrics = spec, policy, path, metrics
        self._engine: Engine | None = None
        self._champion: Artefact | None = None
        self._sampled_ns: dict[str, int] = {}
        self._detector = self._load()

    def _load(self) -> DriftDetector:
        try:
            state = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return DriftDetector(self._spec, self._policy)
        return DriftDetector.from_state(state, self._spec, self._policy)

    def use(self, champion: Artefact | None, *, new_reference: bool = False) -> None:
        """Classify with another champion from now on.

        Args:
            champion: the champion; None if there is none, in which case confidence is not a feature.
            new_reference: True takes new references, since the champion has just been trained on the new windows. New
                references are also taken whenever one known champion replaces another, however it was promoted: the
                two are uncertain about different windows, so their confidences cannot be compared.
        """
        known = self._champion
        if champion is not None and known is not None and champion.model_id == known.model_id:
            return
        if self._engine is not None:
            self._engine.close()
        # One thread and one batch size, since the sidecar shares its machine with a worker.
        size = (self._policy.windows_per_update,)
        self._engine = None if champion is None else Engine(champion, threads=1, buckets=size)
        self._champion = champion
        rejection = None if champion is None else champion.manifest.rejection
        if new_reference or known is not None:
            self._detector = self._detector.with_new_reference(rejection)
        else:
            self._detector = DriftDetector.from_state(self._detector.state(), self._spec, self._policy, rejection)

    def check(self, batch: DecodedBatch) -> str | None:
        """Update the detector with a batch; return the description of a drift, None if there is none.

        A few records per line and bucket are sampled, regardless of the arrival rate: a backlog is checked as closely
        as live windows, and the cost does not grow with the number of windows per second.
        """
        sampled = [entry for entry in batch.records if self._is_sampled(entry)]
        found: DriftSignal | None = None
        most = max(1, self._policy.windows_per_update // WINDOWS_OF_RECORD)
        for first in range(0, len(sampled), most):
            found = self._update(batch, sampled[first : first + most]) or found
        if found is None:
            return None
        self._metrics.drift_signals.labels(found.feature).inc()
        log.warning("drift-found", feature=found.feature, before=found.before, after=found.after, at_ns=found.at_ns)
        return found.reason

    def _is_sampled(self, entry: LineWindows) -> bool:
        last_ns = self._sampled_ns.get(entry.line)
        interval_ns = round(self._policy.bucket_s * NS_PER_S / RECORDS_OF_BUCKET)
        if last_ns is not None and 0 <= entry.start_ns - last_ns < interval_ns:
            return False
        if len(self._sampled_ns) >= MAX_LINES:
            self._sampled_ns.clear()
        self._sampled_ns[entry.line] = entry.start_ns
        return True

    def _update(self, batch: DecodedBatch, entries: Sequence[LineWindows]) -> DriftSignal | None:
        lines: list[str] = []
        rows, starts = [], []
        for entry in entries:
            within = np.unique(np.linspace(0, entry.count - 1, min(entry.count, WINDOWS_OF_RECORD)).astype(np.int64))
            rows.append(entry.first + within)
            hop_ns = self._spec.hop * NS_PER_S / entry.rate_hz
            starts.append(entry.start_ns + np.round(within * hop_ns).astype(np.int64))
            lines += [entry.line] * len(within)
        windows = np.ascontiguousarray(batch.windows[np.concatenate(rows)])
        probabilities = None if self._engine is None else self._engine.classify(windows)
        return self._detector.update(lines, np.concatenate(starts), windows, probabilities)

    def save(self) -> None:
        """Write the state for a restart; if the disk is full, a restart takes new references."""
        try:
            write_text_atomic(self._path, self._detector.state())
        except OSError as error:
            log.warning("drift-state-not-written", error=str(error))

    def close(self) -> None:
        """Close the engine."""
        if self._engine is not None:
            self._engine.close()
