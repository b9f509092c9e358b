"""The contract: what travels on which topic. JSON Schema and AsyncAPI are generated from these models.

Hot paths do not build these models per record (26 µs against 0.6 µs by msgspec, see ``stream.detection.decode``); tests
hold the two to each other.
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
"""Our own headers. Dead letters use the names of Kafka Connect's error headers behind this prefix."""

EpisodeState = Literal["onset", "update", "clear"]
QualityFlag = Literal["missing-channel", "saturation", "gap", "late", "source-restart"]
MAX_NS = 2**63 - 1
MAX_SEQUENCE = 2**63 - 1
MIN_RATE_HZ = 1e-3
MAX_RATE_HZ = 1e9
"""One sample a nanosecond: times in ns cannot tell faster ones apart."""
MAX_LINE_BYTES = 255
"""Of a line's id in UTF-8: it is copied into every event, header and state."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to publish. ``partition`` None leaves the choice to the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    partition: int | None = None


class Message(FrozenModel):
    """Base of everything that travels: frozen, no unknown fields."""


def _known_encoding(value: bytes | str | list[Any]) -> bytes | str | list[Any]:
    if isinstance(value, list) and not value:
        raise ValueError("at least one window")
    return value


class WindowMessage(Message):
    """Value of ``sensor-windows``: n ≥ 1 consecutive windows of one line. The record's key is the line's id.

    Unknown fields are ignored, so that a gateway may add its own.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    spec: str = Field(description="Name of the signal spec that the windows keep.")
    sequence: int = Field(ge=0, le=MAX_SEQUENCE, description="Number of the first window on its line; +1 per window.")
    start_ns: int = Field(ge=0, le=MAX_NS, description="Unix time in ns of the first sample of the first window.")
    rate_hz: float = Field(ge=MIN_RATE_HZ, le=MAX_RATE_HZ, description="Samples per second.")
    count: int = Field(ge=1, description="Number of windows in `data`.")
    data: Annotated[bytes | str | list[Any], AfterValidator(_known_encoding)] = Field(
        description="float32 little-endian block (count, samples, channels), per unit of nominal peak values: "
        "bytes in MessagePack; in JSON base64 text or nested lists."
    )
    labels: list[int] | None = Field(None, description="Class index of every window, where the source knows it.")


class SourceRecord(Message):
    """Where a window came from."""

    topic: str
    partition: int = Field(ge=0)
    offset: int = Field(ge=0)


class FaultEvent(Message):
    """Value of ``faults.<type>``: one step in the life of an episode. The record's key is the line's id."""

    # A domain may add fields by a subclass: see model.domain.Domain.event_model.
    event_id: str = Field(description="Deterministic: the same input gives the same id, whatever is replayed.")
    episode_id: str = Field(description="Shared by all events of one episode.")
    line: str
    state: EpisodeState
    fault_class: str = Field(description="Class of the spec.")
    fault_type: str = Field(description="Type, which is also the topic.")
    confidence: float = Field(ge=0, le=1, description="Calibrated probability of the class, mean over its windows.")
    probabilities: dict[str, float] = Field(description="Probability of every class, mean over the same windows.")
    inception_ns: int = Field(description="Estimated time of the fault's inception, Unix ns.")
    detection_ns: int = Field(description="Time of the last sample that the decision needed, Unix ns.")
    duration_s: float | None = Field(None, description="From inception to clearing; on clear events.")
    quality: list[QualityFlag] = Field(
        default_factory=list, description="What was wrong with the windows, if anything."
    )
    spec: str
    model_id: str
    sequence: int = Field(description="Number of the window that completed the decision.")
    source: SourceRecord

    @classmethod
    def own_fields(
        cls,
        spec: SignalSpec,
        fault_class: int,
        probabilities: NDArray[np.float64],
        duration_s: float | None,
        rate_hz: float,
    ) -> dict[str, Any]:
        """Return the fields that a domain's own subclass adds, by name.

        Args:
            spec: of the windows.
            fault_class: index of the class.
            probabilities: (classes,), mean over the windows that decided.
            duration_s: from inception to clearing; None unless the episode is clear.
            rate_hz: samples per second of the windows.
        """
        return {}

    def meaning(self) -> str:
        """Return for people what the class means, in a few words; empty where the class says all."""
        return ""

    def duration(self) -> str:
        """Return for people how long the fault lasted."""
        return f"{(self.duration_s or 0.0) * 1000:.0f} ms"

    def sampling_hz(self, spec: SignalSpec) -> float:
        """Return the samples per second of the line's windows as well as the event tells: nominally the spec's."""
        return spec.rate_hz


class WindowClasses(Message):
    """Value of ``window-classes`` (MessagePack): the answer to one record of ``sensor-windows``, or a part of it."""

    spec: str
    model_id: str
    shadow: bool = Field(
        False,
        description="True for the answer of a candidate that runs beside the model in use: no event follows from it, "
        "and where the worker was busy there is none.",
    )
    sequence: int
    start_ns: int
    rate_hz: float
    count: int
    classes: bytes = Field(description="uint8 (count,): index of the most probable class of every window.")
    probabilities: bytes = Field(description="float32 little-endian (count, classes).")
    source: SourceRecord


DeadLetterReason = Literal[
    "empty", "tombstone", "bad-key", "bad-headers", "bad-bytes", "wrong-shape", "wrong-spec", "not-finite", "oversize"
]


class DeadLetterHeaders(Message):
    """Headers of ``sensor-windows.dlq`` beside those received; key and value are as received.

    Of a header name that is not UTF-8 (reason bad-headers) the wrong bytes are escaped, e.g. ``\\xff``.
    """

    topic: str
    partition: int
    offset: int
    stage: Literal["decode"]
    reason: DeadLetterReason
    message: str = Field(description="One line for a person.")
    by_reference: bool = Field(
        description="True when the record was too large or too broken to copy: fetch it at its origin."
    )
    timestamp_ms: int = Field(description="Time of the record as received.")


# Retraining


class WindowLabel(Message):
    """Value of ``window-labels``: a person's verdict on a range of one line's windows. The record's key is the line.

    Of two verdicts on a window the later one counts.
    """

    label_id: str = Field(min_length=1, max_length=200, description="A label that is repeated is the same label.")
    line: str = Field(min_length=1, max_length=MAX_LINE_BYTES)
    spec: str = Field(min_length=1, max_length=200)
    fault_class: str = Field(min_length=1, max_length=32, description="Class of the spec; none: it was no fault.")
    event_id: str | None = Field(None, max_length=200, description="The event that the verdict is about.")
    first_ns: int = Field(ge=0, le=MAX_NS, description="Start of the first window that it is about, Unix ns.")
    last_ns: int = Field(ge=0, le=MAX_NS, description="Start of the last window that it is about, Unix ns.")
    by: str = Field(max_length=200, description="Who says so.")
    at: AwareDatetime
    note: str = Field("", max_length=2000)

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.last_ns < self.first_ns:
            raise ValueError("last_ns lies before first_ns")
        return self


RetrainReason = Literal["schedule", "demand", "drift"]
TrainingState = Literal["merged", "started", "progress", "promoted", "refused", "failed"]
TERMINAL_STATES: tuple[TrainingState, ...] = ("promoted", "refused", "failed")
"""States of a final report: the retraining has ended."""


class RetrainOptions(Message):
    """What a retraining may be asked to do otherwise than the trainer's settings say."""

    epochs: int | None = Field(None, ge=1, le=10_000, description="Passes over the windows.")
    episodes: int | None = Field(None, ge=100, le=10_000_000, description="Episodes to simulate.")
    seed: int | None = Field(None, ge=0, le=2**31 - 1, description="The same seed and windows make the same model.")
    warm_start: bool | None = Field(None, description="Go on from the champion's weights instead of random ones.")


class RetrainRequest(Message):
    """Value of ``retrain-requests``. The record's key is the spec's name."""

    request_id: str = Field(min_length=1, max_length=200, description="A request that is repeated is served once.")
    spec: str = Field(min_length=1, max_length=200)
    reason: RetrainReason
    by: str = Field(max_length=200, description="Who asks: a user, or the trainer itself.")
    at: AwareDatetime
    options: RetrainOptions = RetrainOptions()
    note: str = Field("", max_length=2000, description="For people: why, in words.")


class TrainingReport(Message):
    """Value of ``training-reports``. The record's key is the model's id, before there is one the first request's."""

    run_id: str = Field(description="Shared by all reports of one retraining.")
    request_ids: list[str] = Field(description="Requests that it serves, merged ones included.")
    spec: str
    reason: RetrainReason
    state: TrainingState = Field(description="promoted, refused and failed are the last word.")
    at: AwareDatetime
    progress: float = Field(ge=0, le=1, description="Part of the work that is done.")
    stage: str = Field("", description="What is being done, for people.")
    model_id: str | None = None
    champion_id: str | None = Field(None, description="The model in use that the candidate is compared with.")
    failed_criteria: list[str] = Field(
        default_factory=list, description="Of the gate; name, value and limit of each, where the state is refused."
    )
    metrics: dict[str, float] = Field(default_factory=dict, description="The candidate's scores, by name.")
    report_path: str | None = Field(None, description="Folder of the report, on the trainer's machine.")
    note: str = Field("", description="Why it failed, what it was merged into, why it was asked for.")


def event_id(line: str, spec: str, state: EpisodeState, sequence: int, start_ns: int) -> str:
    """Deterministic id of an event: a hash of the line, the spec, the step and the window that completed it.

    The model is left out on purpose: a repeat after a crash carries the first's id even if the model changed between.

    Example:
        >>> event_id("feeder-1", "own", "onset", 7, 1_000) == event_id("feeder-1", "own", "onset", 7, 1_000)
        True
    """
    text = f"{spec}\x1f{line}\x1f{state}\x1f{sequence}\x1f{start_ns}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def cloud_event_headers(event: FaultEvent, time_text: str) -> list[tuple[str, bytes]]:
    """CloudEvents 1.0 headers in Kafka's binary mode (``ce_`` prefix) for one fault event."""
    return [
        (HEADER_CONTENT_TYPE, JSON.encode()),
        ("ce_specversion", b"1.0"),
        ("ce_id", event.event_id.encode()),
        ("ce_type", f"faultline.fault.{event.state}".encode()),
        ("ce_source", b"/faultline/worker"),
        ("ce_subject", event.line.encode()),
        ("ce_time", time_text.encode()),
    ]
