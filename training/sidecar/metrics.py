"""Define the Prometheus metrics of a sidecar."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from stream.contract import TERMINAL_STATES


class SidecarMetrics:
    """All metrics of one sidecar in their own registry."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.retrainings = Counter(
            "faultline_retrainings", "Retrainings that ended, by outcome.", ["verdict"], registry=registry
        )
        self.requests = Counter(
            "faultline_retrain_requests", "Retraining requests accepted, by reason.", ["reason"], registry=registry
        )
        self.running = Gauge("faultline_retraining_running", "1 while a retraining runs.", registry=registry)
        self.progress = Gauge(
            "faultline_retraining_progress", "Progress of the running retraining, 0 to 1.", registry=registry
        )
        self.since = Gauge(
            "faultline_retraining_seconds_since",
            "Seconds since a retraining last ended with this outcome; absent before the first.",
            ["verdict"],
            registry=registry,
        )
        self.next_due = Gauge(
            "faultline_retraining_due_timestamp_seconds",
            "Unix time at which the schedule requests the next retraining; 0 without a schedule.",
            registry=registry,
        )
        self.windows = Counter(
            "faultline_trainer_windows", "Windows read from the topic.", ["labelled"], registry=registry
        )
        self.simulated = Counter(
            "faultline_trainer_simulated_windows", "Simulated windows, read and not stored.", registry=registry
        )
        self.labels = Counter("faultline_trainer_labels", "Labels of operators applied.", registry=registry)
        self.skipped = Counter(
            "faultline_trainer_skipped_records",
            "Records skipped because they are invalid or belong to another spec.",
            registry=registry,
        )
        self.store_windows = Gauge("faultline_store_windows", "Windows in the store.", ["labelled"], registry=registry)
        self.store_bytes = Gauge("faultline_store_bytes", "Size of the windows in the store, bytes.", registry=registry)
        self.store_failing = Gauge("faultline_store_failing", "1 while the store cannot be written.", registry=registry)
        self.drift_signals = Counter(
            "faultline_drift_signals", "Drifts detected, by feature.", ["feature"], registry=registry
        )
        self.ready = Gauge("faultline_ready", "1 while /readyz reports ready.", registry=registry)
        self.model = Gauge("faultline_model_info", "1 for the champion.", ["model_id", "spec"], registry=registry)
        for state in TERMINAL_STATES:
            self.retrainings.labels(state)
        for labelled in ("true", "false"):
            self.windows.labels(labelled)
            self.store_windows.labels(labelled)
