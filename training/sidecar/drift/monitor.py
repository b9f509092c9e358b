"""Monitor the stored windows for drift, by their features and by the champion's confidence on a sample of them.

A champion with a memory follows stretches of consecutive windows, as a worker does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from model.artefact import Artefact
from model.engine import Engine
from model.files import write_text_atomic
from model.spec import SignalSpec
from stream.detection.decode import DecodedBatch
from stream.settings import Settings
from training.sidecar.drift.detector import DriftDetector, DriftPolicy, DriftSignal
from training.sidecar.drift.sampling import Sample, Sampler
from training.sidecar.metrics import SidecarMetrics

log = structlog.get_logger(__name__)


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
        self._sampler = Sampler(spec, policy.bucket_s)
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
        units = 0 if self._engine is None else self._engine.memory_units
        self._sampler = Sampler(self._spec, self._policy.bucket_s, units)
        rejection = None if champion is None else champion.manifest.rejection
        if new_reference or known is not None:
            self._detector = self._detector.with_new_reference(rejection)
        else:
            self._detector = DriftDetector.from_state(self._detector.state(), self._spec, self._policy, rejection)

    def check(self, batch: DecodedBatch) -> str | None:
        """Update the detector with a batch; return the description of a drift, None if there is none.

        Only a few windows per line and bucket are sampled, regardless of the arrival rate: a backlog is checked as
        closely as live windows, and the cost does not grow with the number of windows per second.
        """
        found: DriftSignal | None = None
        for samples in self._groups(batch):
            found = self._update(batch, samples) or found
        if found is None:
            return None
        self._metrics.drift_signals.labels(found.feature).inc()
        log.warning("drift-found", feature=found.feature, before=found.before, after=found.after, at_ns=found.at_ns)
        return found.reason

    def _groups(self, batch: DecodedBatch) -> Iterator[list[Sample]]:
        """Yield the samples of a batch in groups of about as many windows as one update takes."""
        group: list[Sample] = []
        windows = 0
        for sample in self._sampler.samples(batch):
            if group and windows + len(sample.rows) > self._policy.windows_per_update:
                yield group
                group, windows = [], 0
            group.append(sample)
            windows += len(sample.rows)
        if group:
            yield group

    def _update(self, batch: DecodedBatch, samples: Sequence[Sample]) -> DriftSignal | None:
        windows = np.ascontiguousarray(batch.windows[np.concatenate([sample.rows for sample in samples])])
        probabilities = self._answers(windows, samples)
        measured = np.concatenate([np.arange(len(sample.rows)) >= sample.unmeasured for sample in samples])
        lines = [sample.line for sample in samples for _ in sample.rows[sample.unmeasured :]]
        start_ns = np.concatenate([sample.start_ns for sample in samples])[measured]
        answers = None if probabilities is None else probabilities[measured]
        return self._detector.update(lines, start_ns, windows[measured], answers)

    def _answers(self, windows: NDArray[np.float32], samples: Sequence[Sample]) -> NDArray[np.float32] | None:
        """Return the champion's probabilities (n, classes), with its memory of every stretch; None without a champion.

        The memories of the stretches advance.
        """
        if self._engine is None:
            return None
        stretches = list(dict.fromkeys(sample.stretch for sample in samples if sample.stretch is not None))
        if not stretches:
            return self._engine.classify(windows)
        place = {id(stretch): row for row, stretch in enumerate(stretches)}
        line = np.repeat([place[id(sample.stretch)] for sample in samples], [len(sample.rows) for sample in samples])
        memory = np.stack([stretch.memory for stretch in stretches])
        probabilities, advanced = self._engine.follow(windows, line.astype(np.intp), memory)
        for stretch, row in zip(stretches, advanced, strict=True):
            stretch.memory = row
        return probabilities

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
