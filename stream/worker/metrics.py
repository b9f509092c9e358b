"""Define the Prometheus metrics of a worker. They are updated per batch, and no line id is a label."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SIZES = (1, 8, 32, 64, 128, 256, 512, 1024, 2048, 4096, 16384)


class WorkerMetrics:
    """Metrics of one worker, in their own registry."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.records = Counter("faultline_records", "Records acknowledged.", registry=registry)
        self.windows = Counter(
            "faultline_windows",
            "Windows by outcome: judged (classified, in order), repeated, late, unknown (out of distribution), "
            "unanswered.",
            ["outcome"],
            registry=registry,
        )
        self.events = Counter(
            "faultline_events", "Fault events confirmed by the broker.", ["type", "state"], registry=registry
        )
        self.dead_letters = Counter(
            "faultline_dead_letters", "Dead letters confirmed by the broker, by reason.", ["reason"], registry=registry
        )
        self.states_written = Counter(
            "faultline_line_states_written", "Line states written to the topic line-states.", registry=registry
        )
        self.batch_windows = Histogram(
            "faultline_batch_windows", "Number of windows in a micro-batch.", buckets=_SIZES, registry=registry
        )
        self.inference_seconds = Histogram(
            "faultline_inference_seconds",
            "Duration of one call of the inference engine.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "faultline_batch_seconds",
            "Time from the arrival of a micro-batch's oldest record to the confirmation of its events and dead "
            "letters.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.window_to_event_seconds = Histogram(
            "faultline_window_to_event_seconds",
            "Time from the timestamp of a window record to the confirmation of the event that it completed.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.partitions = Gauge(
            "faultline_assigned_partitions", "Partitions assigned to this worker.", registry=registry
        )
        self.lines = Gauge("faultline_lines", "Lines whose state is in memory.", registry=registry)
        self.lag = Gauge(
            "faultline_lag_records",
            "Records of the assigned partitions that are not yet acknowledged.",
            registry=registry,
        )
        self.publish_waiting = Gauge(
            "faultline_publish_waiting", "Number of publishes that are being retried.", registry=registry
        )
        self.ready = Gauge(
            "faultline_ready", "1 if the worker is ready, as reported by /readyz; else 0.", registry=registry
        )
        self.model = Gauge("faultline_model_info", "1 for the model in use.", ["model_id", "spec"], registry=registry)
        self.model_swaps = Counter("faultline_model_swaps", "Number of swaps to another model.", registry=registry)
        self.models_refused = Counter(
            "faultline_models_refused",
            "Records of the topic models that were refused, by reason.",
            ["reason"],
            registry=registry,
        )
        self.shadow = Gauge(
            "faultline_shadow_info",
            "1 for the candidate that runs as shadow.",
            ["model_id", "spec"],
            registry=registry,
        )
        self.shadow_windows = Counter(
            "faultline_shadow_windows",
            "Windows offered to the shadow candidate: same or different class, skipped (worker or candidate busy), "
            "failed.",
            ["outcome"],
            registry=registry,
        )
