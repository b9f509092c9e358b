"""The settings class: every field is an environment variable ``FAULTLINE_<NAME>`` or a line in ``.env``."""

from __future__ import annotations

import difflib
import os
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import DotEnvSettingsSource, SettingsConfigDict

from model.errors import SpecError
from model.spec import load_spec
from stream.errors import SettingsError
from stream.settings.kafka import DAY_S, KafkaSettings, Text
from stream.settings.registry import RegistrySettings
from stream.settings.sidecar import SidecarSettings
from stream.settings.tracing import OTEL_NAMES, TracingSettings

PREFIX = "FAULTLINE_"
OTHERS = re.compile(r"FAULTLINE_((TEST|FAUST|GATE)_.*|DATA|REQUIRE_KAFKA)")
"""Variables that are not checked here: they belong to the tests, to Faust or to the gate for candidates."""
TOPIC_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
"""Topic names that Kafka accepts, except "." and ".."."""


def _topic(value: str) -> str:
    if not TOPIC_NAME.fullmatch(value) or value in (".", ".."):
        raise ValueError(f"{value[:64]!r} is not a topic name: use 1 to 249 of the characters a-z A-Z 0-9 . _ -")
    return value


Topic = Annotated[str, AfterValidator(_topic)]


class Settings(KafkaSettings, SidecarSettings, RegistrySettings, TracingSettings):
    """All settings of a Faultline process. The unit is part of a setting's name."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        extra="ignore",
        frozen=True,
        validate_default=True,
        allow_inf_nan=False,
    )

    # Topics
    topic_windows: Topic = Field("sensor-windows", description="Topic from which workers and the trainer read windows.")
    topic_faults_prefix: str = Field(
        "faults.", description="Prefix of the topics for fault events: an event of fault type lg goes to faults.lg."
    )
    topic_window_classes: Topic = Field(
        "window-classes",
        description="Topic for the classes and probabilities of every window; used only while "
        "FAULTLINE_WINDOW_CLASSES is true.",
    )
    topic_dead_letters: Topic = Field(
        "sensor-windows.dlq",
        description="Topic for window records that cannot be classified, with the reason in their headers.",
    )
    topic_line_states: Topic = Field(
        "line-states",
        description="Compacted topic for the open episodes of every line, from which a worker restores them when it "
        "gets a partition.",
    )
    topic_labels: Topic = Field("window-labels", description="Topic for the labels that operators give to windows.")
    topic_retrain: Topic = Field("retrain-requests", description="Topic for retraining requests.")
    topic_reports: Topic = Field("training-reports", description="Topic for the progress and results of retrainings.")
    topic_models: Topic = Field(
        "models",
        description="Compacted topic for models: per spec the model in use, its shadow and the archive of promoted "
        "models.",
    )
    partitions: int = Field(
        8,
        ge=1,
        le=100_000,
        description="Partitions of the topics for windows, events, dead letters, line states, window classes and "
        "labels when they are created. At most this many workers of a group have work.",
    )
    windows_retention_mb: int = Field(
        0,
        ge=0,
        le=1 << 40,
        description="Size limit in MiB per partition of sensor-windows, set when the topic is created. Beyond it the "
        "oldest windows are deleted, even before the retention time of a day. 0 sets no limit.",
    )
    replication_factor: int = Field(
        1,
        ge=1,
        le=1000,
        description="Copies of each topic's partitions when the topic is created. 1 fits a single broker; use 3 on a "
        "cluster.",
    )

    # Model
    spec: Text = Field("line", description="Signal spec: the name of a shipped spec or the path of a TOML file.")
    model: Text | None = Field(
        None,
        description="Path of the artefact that is used while the topic models has no champion; the spec's shipped "
        "artefact when unset.",
    )
    inference_threads: int | None = Field(
        None, ge=1, le=1024, description="Threads of the inference engine; one per core when unset."
    )

    # Micro-batch
    batch_windows: int = Field(
        2048,
        ge=1,
        le=65536,
        description="Number of windows at which a micro-batch closes. The default is enough to fill the engine's "
        "shape buckets.",
    )
    batch_deadline_ms: float = Field(
        5.0,
        ge=0,
        le=60_000,
        description="Longest time in ms that an idle engine waits for more windows, counted from the arrival of the "
        "oldest record of the micro-batch. The micro-batch closes earlier when waiting does not pay: when the engine "
        "has been idle for as long as its last call took.",
    )
    max_poll_records: int = Field(
        2048, ge=1, le=1_000_000, description="Most records of one partition that one fetch returns."
    )
    fetch_max_wait_ms: int = Field(
        100,
        ge=1,
        le=60_000,
        description="Longest time in ms that the broker holds a fetch that finds no record. An idle partition can "
        "delay a busy one by this time.",
    )
    max_message_bytes: int = Field(
        1_000_000,
        ge=1024,
        le=100_000_000,
        description="Largest window message in bytes. The dead letter of a larger one refers to it by topic, "
        "partition and offset instead of copying it.",
    )
    window_classes: bool = Field(
        False, description="Publish the classes and probabilities of every window, not only fault events."
    )

    # Episodes
    episode_confirm: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Faulty windows that open an episode: m of the last n windows. The spec's value when unset.",
    )
    episode_of: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Number n of the last windows of which FAULTLINE_EPISODE_CONFIRM must be faulty. The spec's value "
        "when unset.",
    )
    episode_clear: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Windows without a fault in a row that end an episode. The spec's value when unset.",
    )

    # Lines
    max_lines_per_partition: int = Field(
        50_000,
        ge=1,
        le=10_000_000,
        description="Lines whose state a worker keeps per partition. Beyond this number it forgets the idle lines "
        "without a window for longest. A line takes 1.2 kB, so the default takes 60 MB.",
    )

    # Lifecycle
    stuck_timeout_s: float = Field(
        90.0,
        gt=0,
        le=DAY_S,
        description="Time in seconds after which a worker that has lag and makes no progress outside a rebalance ends "
        "itself, so that it is restarted.",
    )
    shutdown_timeout_s: float = Field(
        25.0,
        gt=0,
        le=DAY_S,
        description="Time in seconds after which a worker whose shutdown hangs ends itself. The default is below the "
        "30 s that Kubernetes allows.",
    )
    web_host: Text = Field(
        "127.0.0.1",
        description="Address on which workers and the trainer serve health and metrics; loopback by default.",
    )
    web_port: int = Field(
        8066, ge=0, le=65535, description="Port on which a worker serves health and metrics; 0 takes a free port."
    )

    # Logs
    log_format: Literal["auto", "json", "console"] = Field(
        "auto",
        description="Format of log lines: console for people, json for machines; auto is console on a terminal and "
        "json elsewhere.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level of log events that are written."
    )
    log_repeat_s: float = Field(
        10.0,
        ge=0,
        le=DAY_S,
        description="Time in seconds within which a repeated warning or error is not logged again. The next line gives "
        "the number of omitted repeats as repeats_not_logged; 0 logs every repeat.",
    )

    @field_validator("topic_faults_prefix")
    @classmethod
    def _begins_a_topic(cls, value: str) -> str:
        _topic(f"{value}unknown")
        return value

    @model_validator(mode="after")
    def _topics_differ(self) -> Settings:
        topics = {name: getattr(self, name) for name in type(self).model_fields if name.startswith("topic_")}
        prefix = topics.pop("topic_faults_prefix")
        taken = {_topic(f"{prefix}{kind}"): "topic_faults_prefix" for kind in self._known_types()}
        for name, topic in topics.items():
            if (other := taken.setdefault(topic, name)) != name:
                raise ValueError(f"{other} and {name} both name the topic {topic}: give each a topic of its own")
        return self

    @model_validator(mode="after")
    def _episodes_fit(self) -> Settings:
        if (self.episode_confirm or 0) > (self.episode_of or 1 << 30):
            raise ValueError("episode_confirm must not exceed episode_of")
        return self

    @property
    def fault_types(self) -> tuple[str, ...]:
        """Fault types of the spec; each has a topic for its events.

        Raises:
            SpecError: there is no such spec.
        """
        return load_spec(self.spec).fault_types

    def topic_faults(self, fault_type: str) -> str:
        """Return the topic of one fault type: ``faults.<type>``."""
        return f"{self.topic_faults_prefix}{fault_type}"

    @property
    def fault_topics(self) -> tuple[str, ...]:
        """Topics of all fault types of the spec. Raises the same errors as ``fault_types``."""
        return tuple(self.topic_faults(kind) for kind in self.fault_types)

    def _known_types(self) -> tuple[str, ...]:
        """Return the fault types; none when the spec cannot be loaded, which its user reports with more detail."""
        try:
            return self.fault_types
        except SpecError:
            return ()


def load_settings(**overrides: object) -> Settings:
    """Return the settings from the environment and ``.env``; ``overrides`` that are not None take precedence.

    Raises:
        SettingsError: a setting is wrong; one line names each wrong variable and the allowed values.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    findings = []
    try:
        findings += _unknown_variables()
        settings = Settings(**given)  # type: ignore[arg-type]
    except UnicodeDecodeError as error:
        raise SettingsError(f"wrong setting: .env is not UTF-8 at byte {error.start}: save it as UTF-8") from None
    except OSError as error:
        raise SettingsError(f"wrong setting: .env cannot be read: {error.strerror}; check its permissions") from None
    except ValidationError as error:
        for finding in error.errors(include_url=False, include_input=False):
            # The finding about a union also names the alternative of the union in ``loc``.
            name = str(finding["loc"][0]).upper() if finding["loc"] else ""
            findings.append((f"{PREFIX}{name}: " if name else "") + finding["msg"].removeprefix("Value error, "))
    if findings:
        raise SettingsError("wrong setting: " + "; ".join(dict.fromkeys(findings)))
    return settings


def _unknown_variables() -> list[str]:
    """Return findings about unknown variables in the environment and ``.env``: a misspelt name would have no effect."""
    names = {*settings_in_environment(), *(name.upper() for name in DotEnvSettingsSource(Settings).env_vars)}
    known = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    findings = []
    for name in sorted(names):
        if name in OTEL_NAMES:
            findings.append(
                f"{name}: set {OTEL_NAMES[name]} in the environment instead: it is OpenTelemetry's own variable"
            )
        elif name.startswith(PREFIX) and name not in known and not OTHERS.fullmatch(name):
            close = difflib.get_close_matches(name, known, n=2)
            findings.append(f"{name}: no such setting" + (f"; did you mean {' or '.join(close)}?" if close else ""))
    return findings


def settings_in_environment() -> tuple[str, ...]:
    """Return the names (never the values) of Faultline's variables in the environment, misspelt ones included."""
    names = {name.upper() for name in os.environ if name.upper().startswith(PREFIX)}
    return tuple(sorted(name for name in names if not OTHERS.fullmatch(name)))
