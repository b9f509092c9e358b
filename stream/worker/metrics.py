"""The Prometheus metrics of a worker: counted per batch, with conventional names and units, no line id as a label."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SIZES = (1, 8, 32, 64, 128, 256, 512, 1024, 2048, 4096, 16384)


class WorkerMetrics:
    """All metrics of one worker, in a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.records = Counter("faultline_records", "Records acknowledged.", registry=registry)
        self.windows = Counter("faultline_windows", "Windows by outcome.", ["outcome"], registry=registry)
        self.events = Counter("faultline_events", "Fault events confirmed.", ["type", "state"], registry=registry)
        self.dead_letters = Counter("faultline_dead_letters", "Dead letters confirmed.", ["reason"], registry=registry)
        self.states_written = Counter("faultline_line_states_written", "Line states written.", registry=registry)
        self.batch_windows = Histogram(
            "faultline_batch_windows", "Windows in a micro-batch.", buckets=_SIZES, registry=registry
        )
        self.inference_seconds = Histogram(
            "faultline_inference_seconds", "Time of one inference call.", buckets=_SECONDS, registry=registry
        )
        self.batch_seconds = Histogram(
            "faultline_batch_seconds",
            "From the arrival of a micro-batch's oldest record to the acknowledgement of its events and dead letters.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.window_to_event_seconds = Histogram(
            "faultline_window_to_event_seconds",
            "From a window record's timestamp to the confirmation of the event it caused.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.partitions = Gauge("faultline_assigned_partitions", "Partitions assigned.", registry=registry)
        self.lines = Gauge("faultline_lines", "Lines with a state in memory.", registry=registry)
        self.lag = Gauge("faultline_lag_records", "Records not yet acknowledged.", registry=registry)
        self.publish_waiting = Gauge("faultline_publish_waiting", "Publishes being retried.", registry=registry)
        self.ready = Gauge("faultline_ready", "1 when /readyz says so.", registry=registry)
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
            "1 for the candidate that runs as the shadow.",
            ["model_id", "spec"],
            registry=registry,
        )
        self.shadow_windows = Counter(
            "faultline_shadow_windows",
            "Windows offered to the candidate: same or different class, skipped while busy, failed.",
            ["outcome"],
            registry=registry,
        )
