"""Prometheus metrics of a sidecar."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from stream.contract import TERMINAL_STATES


class SidecarMetrics:
    """All metrics of one sidecar in a registry of its own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.retrainings = Counter(
            "faultline_retrainings", "Retrainings by how they ended.", ["verdict"], registry=registry
        )
        self.requests = Counter("faultline_retrain_requests", "Requests taken.", ["reason"], registry=registry)
        self.running = Gauge("faultline_retraining_running", "1 while a retraining runs.", registry=registry)
        self.progress = Gauge("faultline_retraining_progress", "Part of it that is done.", registry=registry)
        self.since = Gauge(
            "faultline_retraining_seconds_since",
            "Since a retraining last ended in this state; absent before the first.",
            ["verdict"],
            registry=registry,
        )
        self.next_due = Gauge(
            "faultline_retraining_due_timestamp_seconds", "When the schedule is due next; 0 without.", registry=registry
        )
        self.windows = Counter("faultline_trainer_windows", "Windows read.", ["labelled"], registry=registry)
        self.simulated = Counter(
            "faultline_trainer_simulated_windows", "Simulated windows, read and not stored.", registry=registry
        )
        self.labels = Counter("faultline_trainer_labels", "Labels of operators read.", registry=registry)
        self.skipped = Counter(
            "faultline_trainer_skipped_records", "Records that are none of ours or cannot be read.", registry=registry
        )
        self.store_windows = Gauge("faultline_store_windows", "Windows in the store.", ["labelled"], registry=registry)
        self.store_bytes = Gauge("faultline_store_bytes", "Size of the store.", registry=registry)
        self.store_failing = Gauge("faultline_store_failing", "1 while the store cannot be written.", registry=registry)
        self.drift_signals = Counter("faultline_drift_signals", "Drift found.", ["feature"], registry=registry)
        self.ready = Gauge("faultline_ready", "1 when /readyz says so.", registry=registry)
        self.model = Gauge("faultline_model_info", "1 for the champion.", ["model_id", "spec"], registry=registry)
        for state in TERMINAL_STATES:
            self.retrainings.labels(state)
        for labelled in ("true", "false"):
            self.windows.labels(labelled)
            self.store_windows.labels(labelled)
