"""The one settings class: every field is an environment variable ``FAULTLINE_<NAME>`` or a line in ``.env``."""

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
"""Variables that are not ours to check: of the tests, of Faust, of the gate for candidates."""
TOPIC_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
"""Names that Kafka takes, except "." and ".."."""


def _topic(value: str) -> str:
    if not TOPIC_NAME.fullmatch(value) or value in (".", ".."):
        raise ValueError(f"{value[:64]!r} is no name for a topic: 1 to 249 of the characters a-z A-Z 0-9 . _ -")
    return value


Topic = Annotated[str, AfterValidator(_topic)]


class Settings(KafkaSettings, SidecarSettings, RegistrySettings, TracingSettings):
    """All settings of a Faultline process. Units are in the names."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        extra="ignore",
        frozen=True,
        validate_default=True,
        allow_inf_nan=False,
    )

    # Topics
    topic_windows: Topic = Field("sensor-windows", description="Windows come from here.")
    topic_faults_prefix: str = Field("faults.", description="Events go to <prefix><type>.")
    topic_window_classes: Topic = Field("window-classes", description="Classes of every window, when switched on.")
    topic_dead_letters: Topic = Field("sensor-windows.dlq", description="Records that cannot be classified.")
    topic_line_states: Topic = Field("line-states", description="Compacted; open episodes per line.")
    topic_labels: Topic = Field("window-labels", description="Labels by operators.")
    topic_retrain: Topic = Field("retrain-requests", description="Requests for a retraining.")
    topic_reports: Topic = Field("training-reports", description="Progress and results of retrainings.")
    topic_models: Topic = Field("models", description="Compacted; the champion's artefact.")
    partitions: int = Field(
        8, ge=1, le=100_000, description="Partitions of sensor-windows, line-states and what follows them."
    )
    replication_factor: int = Field(1, ge=1, le=1000, description="Copies of each topic; 3 on a cluster.")

    # Model
    spec: Text = Field("line", description="Signal spec: a shipped name or a path to a TOML file.")
    model: Text | None = Field(
        None, description="Artefact to start with: a path; the shipped one of the spec when unset."
    )
    inference_threads: int | None = Field(
        None, ge=1, le=1024, description="Threads of the engine; one per core when unset."
    )

    # Micro-batch
    batch_windows: int = Field(
        2048,
        ge=1,
        le=65536,
        description="A micro-batch closes at this many windows: enough to fill the engine's buckets.",
    )
    batch_deadline_ms: float = Field(
        5.0,
        ge=0,
        le=60_000,
        description="…or when the engine is free and waiting does not pay, or its oldest record arrived this long ago.",
    )
    max_poll_records: int = Field(2048, ge=1, le=1_000_000, description="Records of one fetched partition batch.")
    fetch_max_wait_ms: int = Field(
        100, ge=1, le=60_000, description="Longest wait of a fetch; an idle partition delays a hot one by as much."
    )
    max_message_bytes: int = Field(
        1_000_000,
        ge=1024,
        le=100_000_000,
        description="A larger window message is dead-lettered by reference, not by value.",
    )
    window_classes: bool = Field(False, description="Publish classes and probabilities of every window.")

    # Episodes (the spec's policy unless set)
    episode_confirm: int | None = Field(None, ge=1, le=1000, description="Faulty windows needed (m of n).")
    episode_of: int | None = Field(None, ge=1, le=1000, description="…among this many windows (n).")
    episode_clear: int | None = Field(None, ge=1, le=100_000, description="Quiet windows that end an episode.")

    # Lines
    max_lines_per_partition: int = Field(
        50_000,
        ge=1,
        le=10_000_000,
        description="Beyond so many, quiet lines not heard of for longest are forgotten: 1.2 kB each, so 60 MB.",
    )

    # Lifecycle
    stuck_timeout_s: float = Field(
        90.0,
        gt=0,
        le=DAY_S,
        description="Ends a worker that has lag and made no progress for so long outside a rebalance.",
    )
    shutdown_timeout_s: float = Field(
        25.0, gt=0, le=DAY_S, description="A stop that hangs is ended; below Kubernetes' 30 s."
    )
    web_host: Text = Field("127.0.0.1", description="Health and metrics; loopback by default.")
    web_port: int = Field(8066, ge=0, le=65535, description="0 takes a free port.")

    # Logs
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: console on a terminal, else JSON."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")

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
                raise ValueError(f"{other} and {name} are both for the topic {topic}; each needs its own")
        return self

    @model_validator(mode="after")
    def _episodes_fit(self) -> Settings:
        if (self.episode_confirm or 0) > (self.episode_of or 1 << 30):
            raise ValueError("episode_confirm must not exceed episode_of")
        return self

    @property
    def fault_types(self) -> tuple[str, ...]:
        """Fault types of the spec: every one has a topic of events.

        Raises:
            SpecError: there is no such spec.
        """
        return load_spec(self.spec).fault_types

    def topic_faults(self, fault_type: str) -> str:
        """Return the topic of one fault type: ``faults.<type>``."""
        return f"{self.topic_faults_prefix}{fault_type}"

    @property
    def fault_topics(self) -> tuple[str, ...]:
        """Topics of all fault types of the spec. Raises as ``fault_types``."""
        return tuple(self.topic_faults(kind) for kind in self.fault_types)

    def _known_types(self) -> tuple[str, ...]:
        """Return the fault types; none of a spec that cannot be loaded, of which its user will say more."""
        try:
            return self.fault_types
        except SpecError:
            return ()


def load_settings(**overrides: object) -> Settings:
    """Return the settings of the environment and ``.env``; ``overrides`` that are not None win.

    Raises:
        SettingsError: one line that names each wrong variable and what is allowed.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    findings = []
    try:
        findings += _unknown_variables()
        settings = Settings(**given)  # type: ignore[arg-type]
    except UnicodeDecodeError as error:
        raise SettingsError(f"wrong setting: .env is not UTF-8 at byte {error.start}: save it as UTF-8") from None
    except OSError as error:
        raise SettingsError(f"wrong setting: .env cannot be read: {error.strerror}") from None
    except ValidationError as error:
        for finding in error.errors(include_url=False, include_input=False):
            # A union's finding also names the alternative that it is about.
            name = str(finding["loc"][0]).upper() if finding["loc"] else ""
            findings.append((f"{PREFIX}{name}: " if name else "") + finding["msg"].removeprefix("Value error, "))
    if findings:
        raise SettingsError("wrong setting: " + "; ".join(dict.fromkeys(findings)))
    return settings


def _unknown_variables() -> list[str]:
    """Return findings about names of variables in the environment and ``.env``: a misspelt one would have no effect."""
    names = {*settings_in_environment(), *(name.upper() for name in DotEnvSettingsSource(Settings).env_vars)}
    known = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    findings = []
    for name in sorted(names):
        if name in OTEL_NAMES:
            findings.append(f"{name}: set {OTEL_NAMES[name]} in the environment instead, as OpenTelemetry has it")
        elif name.startswith(PREFIX) and name not in known and not OTHERS.fullmatch(name):
            close = difflib.get_close_matches(name, known, n=2)
            findings.append(f"{name}: no such setting" + (f"; did you mean {' or '.join(close)}?" if close else ""))
    return findings


def settings_in_environment() -> tuple[str, ...]:
    """Return the names (never values) of our settings that are set as variables, misspelt ones included."""
    names = {name.upper() for name in os.environ if name.upper().startswith(PREFIX)}
    return tuple(sorted(name for name in names if not OTHERS.fullmatch(name)))
