"""Test your own gateways and subscribers with a broker in memory, a fake classifier, and builders of messages.

Example: test a subscriber without Kafka and without a model.
    >>> import asyncio
    >>> from model.spec import load_spec
    >>> from stream.kafka.reading.reader import StartAt
    >>> from stream.settings import Settings
    >>> from stream.subscribe import EventFeed
    >>> async def states(settings: Settings) -> list[str]:
    ...     async with EventFeed(settings, None, StartAt("earliest")) as feed:
    ...         found = []
    ...         async for received in feed:
    ...             found.append(f"{received.event.line} {received.event.fault_class} {received.event.state}")
    ...             if received.event.state == "clear":
    ...                 return found
    ...     return []
    >>> with EmbeddedBroker() as broker:
    ...     settings = Settings(broker=broker.bootstrap, _env_file=None)
    ...     asyncio.run(publish(settings, fault_events("AG", load_spec("line"), line="feeder-7")))
    ...     asyncio.run(states(settings))
    ['feeder-7 AG onset', 'feeder-7 AG clear']
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.contract import FaultEvent, cloud_event_headers
from stream.kafka.embedded import EmbeddedBroker
from stream.settings import Settings
from stream.windowing import MSGPACK_HEADERS, OutgoingWindows, encode_windows, window_messages

__all__ = [
    "EmbeddedBroker",
    "FakeClassifier",
    "class_messages",
    "class_probabilities",
    "class_windows",
    "fault_events",
    "fault_messages",
    "publish",
    "window_messages",
]

START_NS = 1_700_000_000_000_000_000
"""Unix time of the first sample in ns; it is fixed, so that the same arguments give the same bytes."""
QUIET_WINDOWS = 24
"""Number of quiet windows before and after a fault: more than the episode policy of any shipped spec requires."""
CERTAINTY = 0.9
"""Probability that the fake classifier gives to a window's class; the other classes share the rest."""


class FakeClassifier:
    """Classifier that reads the class of a window from its samples; it replaces ``model.engine.Engine`` in tests.

    Args:
        spec: spec of the windows.
        model_id: model id in every event.

    Attributes:
        memory_units: 0, since it has no memory.
        calls: number of windows in each call of ``classify``.

    Example:
        >>> from model.spec import load_spec
        >>> spec = load_spec("line")
        >>> windows = class_windows([spec.class_index("AG"), spec.none_index], spec)
        >>> [spec.class_names[k] for k in FakeClassifier(spec).classify(windows).argmax(axis=1)]
        ['AG', 'none']
    """

    def __init__(self, spec: SignalSpec, model_id: str = "model-a") -> None:
        self.spec = spec
        self.model_id = model_id
        self.memory_units = 0
        self.calls: list[int] = []

    def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities float32 (n, classes) for windows float32 (n, samples, channels)."""
        self.calls.append(len(windows))
        return class_probabilities(windows[:, 0, 0].astype(int).tolist(), self.spec)

    def follow(
        self, windows: NDArray[np.float32], line: NDArray[np.intp], memory: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the probabilities of ``classify`` and the unchanged memories: this classifier remembers nothing.

        Args:
            windows: float32 (n, samples, channels).
            line: (n,), row of ``memory`` of each window's line.
            memory: float32 (lines, 0).
        """
        return self.classify(windows), memory

    def is_ood(self, windows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return False for every window, bool (n,): none is out of distribution."""
        return np.zeros(len(windows), bool)


def class_probabilities(classes: Sequence[int], spec: SignalSpec, certainty: float = CERTAINTY) -> NDArray[np.float32]:
    """Return probabilities float32 (n, classes): ``certainty`` for each window's class, the rest for the others."""
    count = len(spec.classes)
    rows = np.full((len(classes), count), (1 - certainty) / (count - 1), np.float32)
    rows[np.arange(len(classes)), np.asarray(classes, int)] = certainty
    return rows


def class_windows(classes: Sequence[int], spec: SignalSpec) -> NDArray[np.float32]:
    """Return windows float32 (n, samples, channels) whose first sample holds their class, an index of the spec.

    They are meant for ``FakeClassifier``; to a network they are noise. Use ``window_messages`` to make messages from a
    waveform.
    """
    windows = np.zeros((len(classes), *spec.window_shape), np.float32)
    windows[:, 0, :] = np.asarray(classes)[:, None]
    return windows


def class_messages(
    line: str,
    classes: Sequence[int],
    spec: SignalSpec,
    *,
    first_sequence: int = 0,
    windows_per_message: int = 4,
    start_ns: int = START_NS,
) -> list[OutgoingWindows]:
    """Return messages of a line whose windows have the given classes, as a gateway would send them.

    Args:
        line: id of the line, which is the key of the records.
        classes: index of the class of every window.
        spec: spec of the windows.
        first_sequence: sequence number of the first window.
        windows_per_message: number of windows in one message.
        start_ns: Unix time of the first sample of window 0.

    Returns:
        The messages in order of time.

    Example:
        >>> from model.spec import load_spec
        >>> spec = load_spec("line")
        >>> [message.count for message in class_messages("feeder-1", [spec.none_index] * 10, spec)]
        [4, 4, 2]
    """
    rate_hz = spec.rate_hz
    messages = []
    for first in range(0, len(classes), windows_per_message):
        block = classes[first : first + windows_per_message]
        sequence = first_sequence + first
        begin_ns = start_ns + round(sequence * spec.hop * 1e9 / rate_hz)
        value = encode_windows(
            class_windows(block, spec), spec, sequence=sequence, start_ns=begin_ns, rate_hz=rate_hz, labels=block
        )
        samples = (len(block) - 1) * spec.hop + spec.samples
        messages.append(OutgoingWindows(line, value, len(block), begin_ns + round(samples * 1e9 / rate_hz)))
    return messages


def fault_messages(
    fault_class: str,
    spec: SignalSpec,
    *,
    line: str = "feeder-1",
    windows: int = 12,
    first_sequence: int = 0,
    windows_per_message: int = 4,
    start_ns: int = START_NS,
) -> list[OutgoingWindows]:
    """Return messages of a line with one fault of ``windows`` windows between windows without a fault.

    ``FakeClassifier`` reads the classes; the other arguments are those of ``class_messages``.
    """
    quiet = [spec.none_index] * QUIET_WINDOWS
    return class_messages(
        line,
        [*quiet, *[spec.class_index(fault_class)] * windows, *quiet],
        spec,
        first_sequence=first_sequence,
        windows_per_message=windows_per_message,
        start_ns=start_ns,
    )


def fault_events(
    fault_class: str,
    spec: SignalSpec,
    *,
    line: str = "feeder-1",
    windows: int = 12,
    start_ns: int = START_NS,
) -> list[FaultEvent]:
    """Return the events that a worker publishes for one fault: its onset and its clear.

    Example:
        >>> from model.spec import load_spec
        >>> [(event.state, event.fault_type) for event in fault_events("BCG", load_spec("line"))]
        [('onset', 'llg'), ('clear', 'llg')]
    """
    from stream.detection.decode import WindowRecord
    from stream.detection.offline import Detector

    messages = fault_messages(fault_class, spec, line=line, windows=windows, start_ns=start_ns)
    records = [
        WindowRecord("sensor-windows", 0, offset, message.end_ns // 1_000_000, line.encode(), message.value)
        for offset, message in enumerate(messages)
    ]
    return list(Detector(FakeClassifier(spec), spec).process(records).events)


async def publish(settings: Settings, records: Iterable[OutgoingWindows | FaultEvent]) -> None:
    """Send windows to their topic and events to the topics of their types; return once all are acknowledged.

    Args:
        settings: broker and topic names.
        records: windows and events; those of a line arrive in this order.

    Raises:
        BrokerError: if the broker is not reachable, a right is missing, or a topic does not exist.
    """
    from aiokafka import AIOKafkaProducer

    from stream.kafka.clients import producer_kwargs
    from stream.kafka.errors import broker_errors

    with broker_errors(settings):
        async with AIOKafkaProducer(**producer_kwargs(settings)) as producer:
            for record in records:
                if isinstance(record, OutgoingWindows):
                    topic, value, headers = settings.topic_windows, record.value, MSGPACK_HEADERS
                else:
                    detected = datetime.fromtimestamp(record.detection_ns / 1e9, UTC)
                    topic, value = settings.topic_faults(record.fault_type), record.model_dump_json().encode()
                    headers = cloud_event_headers(record, detected.isoformat())
                await producer.send(topic, value, key=record.line.encode(), headers=headers)
            await producer.flush()
