"""The contract: the messages on every topic. JSON Schema and AsyncAPI are generated from these models.

Hot paths do not build these models per record (26 µs against 0.6 µs by msgspec, see ``stream.detection.decode``); tests
check that both accept the same messages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, model_validator

from model.frozen import FrozenModel
from model.spec import SignalSpec

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
MSGPACK = "application/msgpack"
JSON = "application/json"
HEADER_CONTENT_TYPE = "content-type"
HEADER_PREFIX = "faultline."
"""Prefix of Faultline's own headers. Dead letters use the names of Kafka Connect's error headers behind it."""
HEADER_ORIGIN = f"{HEADER_PREFIX}origin"
"""Header with the origin of windows, on their messages and on the resulting fault events; absent for a real line."""
SIMULATED = b"simulated"
"""Value of ``HEADER_ORIGIN`` for windows of a simulator, which must not train a model like windows of production. The
header is part of the message, so recordings and replays keep it."""

EpisodeState = Literal["onset", "update", "clear"]
QualityFlag = Literal["missing-channel", "saturation", "gap", "late", "source-restart"]
MAX_NS = 2**63 - 1
MAX_SEQUENCE = 2**63 - 1
MIN_RATE_HZ = 1e-3
MAX_RATE_HZ = 1e9
"""One sample per nanosecond: times in ns cannot distinguish faster samples."""
MAX_LINE_BYTES = 255
"""Largest id of a line, in UTF-8: the id is copied into every event, header and state."""


def is_simulated(headers: Sequence[tuple[str, bytes | None]]) -> bool:
    """Return True if the headers of a record mark it as simulated.

    Example:
        >>> is_simulated([("content-type", b"application/msgpack"), ("faultline.origin", b"simulated")])
        True
    """
    return any(name == HEADER_ORIGIN and value == SIMULATED for name, value in headers)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to publish. With ``partition`` None the key decides the partition."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    partition: int | None = None


class Message(FrozenModel):
    """Base of all messages: frozen, no unknown fields."""


def _known_encoding(value: bytes | str | list[Any]) -> bytes | str | list[Any]:
    if isinstance(value, list) and not value:
        raise ValueError("data must contain at least one window")
    return value


class WindowMessage(Message):
    """Value of ``sensor-windows``: n ≥ 1 consecutive windows of one line. The record's key is the line's id.

    Workers ignore unknown fields, so a gateway may add its own.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    spec: str = Field(description="Name of the signal spec that defines the windows.")
    sequence: int = Field(
        ge=0, le=MAX_SEQUENCE, description="Number of the first window; a line's windows are numbered in steps of 1."
    )
    start_ns: int = Field(ge=0, le=MAX_NS, description="Unix time in ns of the first sample of the first window.")
    rate_hz: float = Field(ge=MIN_RATE_HZ, le=MAX_RATE_HZ, description="Samples per second.")
    count: int = Field(ge=1, description="Number of windows in `data`.")
    data: Annotated[bytes | str | list[Any], AfterValidator(_known_encoding)] = Field(
        description="float32 little-endian block (count, samples, channels), per unit of nominal peak values: "
        "bytes in MessagePack; in JSON base64 text or nested lists."
    )
    labels: list[int] | None = Field(None, description="Class index of every window, if the source knows it.")


class SourceRecord(Message):
    """Position of the record that a window came in."""

    topic: str = Field(description="Topic of the record.")
    partition: int = Field(ge=0, description="Partition of the record.")
    offset: int = Field(ge=0, description="Offset of the record.")


class FaultEvent(Message):
    """Value of ``faults.<type>``: onset, update or clear of an episode. The record's key is the line's id."""

    # A domain may add fields in a subclass: see model.domain.Domain.event_model.
    event_id: str = Field(
        description="Deterministic id: the same input has the same id, also after a crash or in a replay."
    )
    episode_id: str = Field(description="Id of the episode; all its events carry it.")
    line: str = Field(description="Id of the line.")
    state: EpisodeState = Field(description="State of the episode: onset, update or clear.")
    fault_class: str = Field(description="Fault class, by its name in the spec.")
    fault_type: str = Field(description="Fault type, by its name in the spec; it names the topic.")
    confidence: float = Field(
        ge=0, le=1, description="Calibrated probability of the class, mean over the windows that decided."
    )
    probabilities: dict[str, float] = Field(description="Probability of every class, mean over the same windows.")
    inception_ns: int = Field(description="Estimated time of the fault's inception, Unix time in ns.")
    detection_ns: int = Field(description="Time of the last sample that the decision needed, Unix time in ns.")
    duration_s: float | None = Field(None, description="Time in s from inception to clearing; on clear events only.")
    quality: list[QualityFlag] = Field(
        default_factory=list,
        description="Defects of the windows, if any: a missing channel, saturation, a gap, late windows, a restarted "
        "source.",
    )
    spec: str = Field(description="Name of the signal spec.")
    model_id: str = Field(description="Id of the model that classified the windows.")
    sequence: int = Field(description="Sequence number of the window that completed the decision.")
    source: SourceRecord = Field(description="Record of the window that completed the decision.")

    @classmethod
    def own_fields(
        cls,
        spec: SignalSpec,
        fault_class: int,
        probabilities: NDArray[np.float64],
        duration_s: float | None,
        rate_hz: float,
    ) -> dict[str, Any]:
        """Return the values of the fields that a domain's subclass adds, by name.

        Args:
            spec: signal spec of the windows.
            fault_class: index of the class.
            probabilities: (classes,), mean over the windows that decided.
            duration_s: time from inception to clearing; None unless the episode is clear.
            rate_hz: samples per second of the windows.
        """
        return {}

    def meaning(self) -> str:
        """Return a short description of the class for people; empty if its name is clear enough."""
        return ""

    def duration(self) -> str:
        """Return the fault's duration as text for people."""
        return f"{(self.duration_s or 0.0) * 1000:.0f} ms"

    def sampling_hz(self, spec: SignalSpec) -> float:
        """Return the samples per second of the line's windows as far as the event tells: by default the spec's rate."""
        return spec.rate_hz


class WindowClasses(Message):
    """Value of ``window-classes`` (MessagePack): the classes of one record of ``sensor-windows`` or part of it."""

    spec: str = Field(description="Name of the signal spec.")
    model_id: str = Field(description="Id of the model that classified the windows.")
    shadow: bool = Field(
        False,
        description="True for the answer of a shadow candidate: no event follows from it, and the candidate skips "
        "windows while the worker is busy.",
    )
    sequence: int = Field(description="Sequence number of the first window.")
    start_ns: int = Field(description="Unix time in ns of the first sample of the first window.")
    rate_hz: float = Field(description="Samples per second.")
    count: int = Field(description="Number of windows.")
    classes: bytes = Field(description="uint8 (count,): index of the most probable class of every window.")
    probabilities: bytes = Field(
        description="float32 little-endian (count, classes): calibrated probability of every class."
    )
    source: SourceRecord = Field(description="Record of the windows.")


DeadLetterReason = Literal[
    "empty", "tombstone", "bad-key", "bad-headers", "bad-bytes", "wrong-shape", "wrong-spec", "not-finite", "oversize"
]


class DeadLetterHeaders(Message):
    r"""Headers that ``sensor-windows.dlq`` adds to those received; key and value are as received.

    In a header name that is not UTF-8 (reason bad-headers) the invalid bytes are escaped, e.g. ``\xff``.
    """

    topic: str = Field(description="Topic of the record as received.")
    partition: int = Field(description="Partition of the record as received.")
    offset: int = Field(description="Offset of the record as received.")
    stage: Literal["decode"] = Field(description="Stage of the worker that rejected the record.")
    reason: DeadLetterReason = Field(description="Code of the reason.")
    message: str = Field(description="Explanation of the reason in one line for people.")
    by_reference: bool = Field(
        description="True if the record was too large to copy; read it at its topic, partition and offset."
    )
    timestamp_ms: int = Field(description="Timestamp of the record as received, Unix time in ms.")


# Retraining


class WindowLabel(Message):
    """Value of ``window-labels``: an operator's label for a range of one line's windows.

    The record's key is the line's id. If a window has two labels, the later one applies.
    """

    label_id: str = Field(
        min_length=1, max_length=200, description="Id of the label: a record with the same id is a repeat."
    )
    line: str = Field(min_length=1, max_length=MAX_LINE_BYTES, description="Id of the line.")
    spec: str = Field(min_length=1, max_length=200, description="Name of the signal spec.")
    fault_class: str = Field(
        min_length=1, max_length=32, description="Fault class, by its name in the spec; none for no fault."
    )
    event_id: str | None = Field(None, max_length=200, description="Event that the label refers to.")
    first_ns: int = Field(ge=0, le=MAX_NS, description="Start of the first labelled window, Unix time in ns.")
    last_ns: int = Field(ge=0, le=MAX_NS, description="Start of the last labelled window, Unix time in ns.")
    by: str = Field(max_length=200, description="Name of the person who gave the label.")
    at: AwareDatetime = Field(description="Time of the label.")
    note: str = Field("", max_length=2000, description="Explanation for people.")

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.last_ns < self.first_ns:
            raise ValueError("last_ns must not be before first_ns")
        return self


RetrainReason = Literal["schedule", "demand", "drift"]
TrainingState = Literal["merged", "started", "progress", "promoted", "refused", "failed"]
TERMINAL_STATES: tuple[TrainingState, ...] = ("promoted", "refused", "failed")
"""States of the final report: the retraining has ended."""


class RetrainOptions(Message):
    """Options of one retraining that override the trainer's settings."""

    epochs: int | None = Field(None, ge=1, le=10_000, description="Training epochs.")
    episodes: int | None = Field(None, ge=100, le=10_000_000, description="Number of episodes to simulate.")
    seed: int | None = Field(
        None, ge=0, le=2**31 - 1, description="Seed of the training: the same seed and windows give the same model."
    )
    warm_start: bool | None = Field(None, description="Start from the champion's weights instead of random ones.")


class RetrainRequest(Message):
    """Value of ``retrain-requests``. The record's key is the spec's name."""

    request_id: str = Field(
        min_length=1, max_length=200, description="Id of the request: a repeated request is served once."
    )
    spec: str = Field(min_length=1, max_length=200, description="Name of the signal spec.")
    reason: RetrainReason = Field(description="Trigger of the request: the schedule, a person or drift.")
    by: str = Field(max_length=200, description="Name of the requester: a user, or the trainer itself.")
    at: AwareDatetime = Field(description="Time of the request.")
    options: RetrainOptions = Field(RetrainOptions(), description="Options that override the trainer's settings.")
    note: str = Field("", max_length=2000, description="Explanation for people.")


class TrainingReport(Message):
    """Value of ``training-reports``. The record's key is the model's id; before there is one, the request's id."""

    run_id: str = Field(description="Id of the retraining; all its reports carry it.")
    request_ids: list[str] = Field(description="Ids of the requests that the retraining serves, including merged ones.")
    spec: str = Field(description="Name of the signal spec.")
    reason: RetrainReason = Field(description="Trigger of the first request: the schedule, a person or drift.")
    state: TrainingState = Field(description="State of the retraining; promoted, refused and failed are final.")
    at: AwareDatetime = Field(description="Time of the report.")
    progress: float = Field(ge=0, le=1, description="Fraction of the work that is done.")
    stage: str = Field("", description="Current stage of the work, for people.")
    model_id: str | None = Field(None, description="Id of the candidate; none before it is trained.")
    champion_id: str | None = Field(None, description="Id of the model in use, which the candidate is compared with.")
    failed_criteria: list[str] = Field(
        default_factory=list,
        description="Gate criteria that the candidate failed if the state is refused: name, value and limit of each.",
    )
    metrics: dict[str, float] = Field(default_factory=dict, description="Scores of the candidate, by name.")
    report_path: str | None = Field(None, description="Folder of the report on the trainer's machine.")
    note: str = Field(
        "",
        description="Further explanation: the cause of a failure, the retraining it was merged into, or the note of "
        "the request.",
    )


def event_id(line: str, spec: str, state: EpisodeState, sequence: int, start_ns: int) -> str:
    """Return the deterministic id of an event: a hash of line, spec, state and the window that completed it.

    The model is not part of it: after a crash a repeated event keeps its id even if the model has changed since.

    Example:
        >>> event_id("feeder-1", "own", "onset", 7, 1_000) == event_id("feeder-1", "own", "onset", 7, 1_000)
        True
    """
    text = f"{spec}\x1f{line}\x1f{state}\x1f{sequence}\x1f{start_ns}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def cloud_event_headers(event: FaultEvent, time_text: str) -> list[tuple[str, bytes]]:
    """Return the CloudEvents 1.0 headers of a fault event in Kafka's binary mode (``ce_`` prefix)."""
    return [
        (HEADER_CONTENT_TYPE, JSON.encode()),
        ("ce_specversion", b"1.0"),
        ("ce_id", event.event_id.encode()),
        ("ce_type", f"faultline.fault.{event.state}".encode()),
        ("ce_source", b"/faultline/worker"),
        ("ce_subject", event.line.encode()),
        ("ce_time", time_text.encode()),
    ]
