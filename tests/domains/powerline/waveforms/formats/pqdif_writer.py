"""PQDIF files written by the tests, from the description of the format and without the code of the reader."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

NAMES = {
    "signature": "4a111440-e49f-11cf-9900-505144494600",
    "container": "89738606-f1c3", "version": "89738607-f1c3", "file name": "89738608-f1c3",
    "creation": "89738609-f1c3", "compression style": "8973861b-f1c3", "compression algorithm": "8973861c-f1c3",
    "data source": "89738619-f1c3", "source name": "b48d8587-f5f5", "location": "b48d8589-f5f5",
    "channel definitions": "b48d858d-f5f5", "one channel definition": "b48d858e-f5f5",
    "channel name": "b48d8590-f5f5", "phase": "b48d8591-f5f5", "group": "b48d8594-f5f5",
    "quantity type": "b48d8592-f5f5", "quantity measured": "c690e872-f755",
    "series definitions": "b48d8598-f5f5", "one series definition": "b48d859a-f5f5", "value type": "b48d859c-f5f5",
    "units": "b48d859b-f5f5", "characteristic": "3d786f9e-f76e", "storage": "b48d85a1-f5f5",
    "settings": "b48d858c-f5f5", "use calibration": "62f28180-f9c4", "use transducer": "62f28181-f9c4",
    "channel settings": "62f28182-f9c4", "one channel setting": "3d786f9a-f76e",
    "system side": "62f2818a-f9c4", "monitor side": "62f2818b-f9c4", "calibration ratio": "62f2818f-f9c4",
    "nominal frequency": "0fa118c3-cb4a-11d2-b30b-fe25cb9a1760",
    "observation": "8973861a-f1c3", "observation name": "3d786f8a-f76e", "time create": "3d786f8b-f76e",
    "time start": "3d786f8c-f76e", "trigger method": "3d786f8d-f76e", "time triggered": "3d786f8e-f76e",
    "trigger channels": "3d786f8f-f76e", "disturbance": "b48d8597-f5f5", "channel instances": "3d786f91-f76e",
    "one channel instance": "3d786f92-f76e", "channel index": "b48d858f-f5f5", "series instances": "3d786f93-f76e",
    "one series instance": "3d786f94-f76e", "scale": "3d786f96-f76e", "offset": "3d786f97-f76e",
    "values": "3d786f99-f76e", "shared channel": "8973861f-f1c3", "shared series": "89738620-f1c3",
    "waveform": "67f6af80-f753", "phasor": "67f6af81-f753", "log": "67f6af82-f753",
    "time": "c690e862-f755", "value": "67f6af97-f753", "lowest": "67f6af98-f753", "highest": "67f6af99-f753",
    "instantaneous": "a6b31add-b451-11d1-ae17-0060083a2628", "rms": "a6b31ae5-b451-11d1-ae17-0060083a2628",
    "momentary sag": "dd56ef6e-7edd-11d2-b30a-00609789d193", "blank": "89738618-f1c3",
}  # fmt: skip
PHASES = {"": 0, "A": 1, "B": 2, "C": 3, "NG": 4, "AB": 5, "BC": 6, "CA": 7, "RES": 8, "NET": 9}
TYPES = {"<i1": 20, "<i2": 21, "<i4": 22, "<u1": 30, "<u2": 31, "<u4": 32, "<f4": 40, "<f8": 41}
BOOLEAN4, CHAR1, CHAR2, UNSIGNED4, REAL8, TIMESTAMP, GUID_TYPE = 3, 10, 11, 32, 41, 50, 60
EPOCH_DAYS = 25569
"""Days from the format's 1900-01-01 to 1970-01-01, as the headers of the standard give them."""
SECOND = 1_000_000_000


def guid(name: str) -> bytes:
    """Return the identifier with a name."""
    text = NAMES[name]
    return UUID(text if len(text) == 36 else f"{text}-11cf-9d89-0080c72e70a3").bytes_le


@dataclass(frozen=True)
class Scalar:
    """A single value: its physical type and its bytes."""

    type: int
    content: bytes


@dataclass(frozen=True)
class Vector:
    """Values of one physical type."""

    type: int
    count: int
    content: bytes


Value = Scalar | Vector | list["tuple[str, Value]"]
Tree = list[tuple[str, Any]]


def uint(value: int) -> Scalar:
    return Scalar(UNSIGNED4, struct.pack("<I", value & 0xFFFFFFFF))


def real(value: float) -> Scalar:
    return Scalar(REAL8, struct.pack("<d", value))


def identity(name: str) -> Scalar:
    return Scalar(GUID_TYPE, guid(name))


def stamp(unix_ns: int | None) -> Scalar:
    """Return a time; None for a date of the year 1, which meters without a trigger write."""
    day, rest = divmod(-(10**19) if unix_ns is None else unix_ns, 86_400 * SECOND)
    return Scalar(TIMESTAMP, struct.pack("<Id", (day + EPOCH_DAYS) & 0xFFFFFFFF, rest / SECOND))


def numbers(values: NDArray[Any]) -> Vector:
    """Return numbers as a vector of their own type."""
    return Vector(TYPES[values.dtype.str.replace("|", "<")], len(values), values.tobytes())


def stamps(unix_ns: Sequence[int]) -> Vector:
    """Return absolute times as a vector."""
    return Vector(TIMESTAMP, len(unix_ns), b"".join(stamp(one).content for one in unix_ns))


@dataclass(frozen=True)
class Form:
    """Form of a file, within what the format allows.

    Attributes:
        compress: compress the bodies of all records but the container.
        stored: type of the values.
        scale: scale and offset of the values; None to store values that need none.
        times: form of the times: "increments", "scaled increments", "values", "float32 values", "milliseconds",
            "cycles" or "stamps".
        shared: let all channels share the times of the first one.
        reverse: list the elements of every collection in reverse order.
        backwards: store the contents of collections before the collections.
        embed: store short scalars in the collection.
        streams: number of zlib streams of a body.
        checksum: checksum in the headers: "", "adler" or "crc" of the stored body, "crc inflated", or "wrong".
        wide: store texts in two-byte characters.
        encoding: encoding of one-byte texts.
        blanks: add blank entries to collections.
        moved: order of the records in the file; the links keep the logical order.
    """

    compress: bool = True
    stored: str = "<i2"
    scale: tuple[float, float] | None = (0.25, 0.0)
    times: str = "increments"
    shared: bool = True
    reverse: bool = False
    backwards: bool = False
    embed: bool = True
    streams: int = 1
    checksum: str = "adler"
    wide: bool = False
    encoding: str = "latin-1"
    blanks: bool = False
    moved: bool = False


@dataclass(frozen=True)
class Channel:
    """Definition of a channel: quantity "V", "I" or another, and phase by its name."""

    name: str
    quantity: str
    phase: str
    group: str = ""
    kind: str = "waveform"
    series: tuple[str, ...] = ("value",)
    characteristic: str = "instantaneous"
    ratio: tuple[float, float] | None = None


@dataclass(frozen=True)
class Event:
    """An observation: values float64 (t,) by the index of the channel, sampled at ``rate_hz`` from ``start_ns``."""

    values: dict[int, NDArray[np.float64]]
    rate_hz: float = 7680.0
    start_ns: int = 1_700_000_000 * SECOND
    first_s: float = 0.0
    name: str = "Event"
    triggered_ns: int | None = 1_700_000_000 * SECOND
    disturbance: str = ""
    trigger_channel: int | None = None
    second_rate: tuple[int, float] | None = None
    """Number of samples at the first rate, and the second rate."""


@dataclass(frozen=True)
class Document:
    """Content of a file."""

    channels: tuple[Channel, ...]
    events: tuple[Event, ...]
    frequency_hz: float | None = 60.0
    use_ratios: bool = False
    use_calibration: bool = False
    source: str = "Meter"
    location: str = ""
    sources_each: bool = False
    """True to repeat the data source before every observation."""
    form: Form = field(default_factory=Form)


SIX = tuple(Channel(f"{quantity} Waveform {phase}", quantity, phase) for quantity in "VI" for phase in "ABC")


def write(document: Document) -> bytes:
    """Return the bytes of a file."""
    form = document.form
    records = [("container", _container(form)), *_descriptions(document)]
    for event in document.events:
        if document.sources_each and event is not document.events[0]:
            records += _descriptions(document)
        records.append(("observation", _observation(document, event)))
    bodies = [(tag, body(tree, form), number > 0) for number, (tag, tree) in enumerate(records)]
    return chained(bodies, form)


def _descriptions(document: Document) -> list[tuple[str, Tree]]:
    return [("data source", _data_source(document)), ("settings", _settings(document))]


def _text(text: str, form: Form) -> Vector:
    if form.wide:
        return Vector(CHAR2, len(text) + 1, (text + "\0").encode("utf-16-le"))
    content = text.encode(form.encoding) + b"\0"
    return Vector(CHAR1, len(content), content)


def _container(form: Form) -> Tree:
    return [
        ("version", numbers(np.array([1, 5, 1, 5], "<u4"))),
        ("file name", _text("test.pqd", form)),
        ("creation", stamp(1_700_000_000 * SECOND)),
        ("compression style", uint(2 if form.compress else 0)),
        ("compression algorithm", uint(1 if form.compress else 0)),
    ]


def _data_source(document: Document) -> Tree:
    form = document.form
    channels = [("one channel definition", _definition(channel, form)) for channel in document.channels]
    return [
        ("source name", _text(document.source, form)),
        ("location", _text(document.location, form)),
        ("channel definitions", channels),
    ]


def _time_unit(form: Form) -> int:
    return {"cycles": 3, "stamps": 1}.get(form.times, 2)


def _definition(channel: Channel, form: Form) -> Tree:
    time_method = {"increments": 4, "scaled increments": 6, "cycles": 4, "milliseconds": 3}.get(form.times, 1)
    value_method = 1 if form.scale is None else 3
    unit = {"V": 6, "I": 7, "P": 9, "?": 0}[channel.quantity]
    series = [("time", _time_unit(form), time_method), *((name, unit, value_method) for name in channel.series)]
    return [
        ("channel name", _text(channel.name, form)),
        ("phase", uint(PHASES[channel.phase])),
        *([("group", _text(channel.group, form))] if channel.group else []),
        ("quantity type", identity(channel.kind)),
        ("quantity measured", uint({"V": 1, "I": 2, "P": 3, "?": 1}[channel.quantity])),
        (
            "series definitions",
            [
                (
                    "one series definition",
                    [
                        ("value type", identity(name)),
                        ("units", uint(units)),
                        # Some writers give the time series a characteristic of effective values.
                        ("characteristic", identity("rms" if name == "time" else channel.characteristic)),
                        ("storage", uint(method)),
                    ],
                )
                for name, units, method in series
            ],
        ),
    ]


def _settings(document: Document) -> Tree:
    channels: Tree = [
        (
            "one channel setting",
            [
                ("channel index", uint(index)),
                *([("calibration ratio", real(1.02))] if document.use_calibration else []),
                *(
                    [("system side", real(channel.ratio[0])), ("monitor side", real(channel.ratio[1]))]
                    if channel.ratio
                    else []
                ),
            ],
        )
        for index, channel in enumerate(document.channels)
    ]
    frequency = document.frequency_hz
    return [
        ("use calibration", Scalar(BOOLEAN4, struct.pack("<i", document.use_calibration))),
        ("use transducer", Scalar(BOOLEAN4, struct.pack("<i", document.use_ratios))),
        *([] if frequency is None else [("nominal frequency", real(frequency))]),
        ("channel settings", channels),
    ]


def sample_times(event: Event) -> NDArray[np.float64]:
    """Return the times of an event's samples in seconds after the start of the observation."""
    count = len(next(iter(event.values.values())))
    steps = np.full(count - 1, 1 / event.rate_hz)
    if event.second_rate is not None:
        steps[event.second_rate[0] - 1 :] = 1 / event.second_rate[1]
    return event.first_s + np.concatenate([[0.0], np.cumsum(steps)])


def _times(event: Event, document: Document) -> Tree:
    form, count = document.form, len(next(iter(event.values.values())))
    if form.times in ("values", "float32 values"):
        return [("values", numbers(sample_times(event).astype("<f8" if form.times == "values" else "<f4")))]
    if form.times == "milliseconds":
        return [("scale", real(0.001)), ("values", numbers(np.round(1e3 * sample_times(event)).astype("<i4")))]
    if form.times == "stamps":
        return [("values", stamps([event.start_ns + round(time * SECOND) for time in sample_times(event)]))]
    runs = [(count, event.rate_hz)]
    if event.second_rate is not None:
        runs = [(event.second_rate[0], event.rate_hz), (count - event.second_rate[0], event.second_rate[1])]
    offset = [("offset", real(event.first_s))] if event.first_s or form.times == "scaled increments" else []
    if form.times == "scaled increments":
        # Whole numbers of the shortest step, of which the scale is the length.
        short = min(1 / rate for _, rate in runs)
        flat = [len(runs), *(part for number, rate in runs for part in (number, round(1 / rate / short)))]
        return [("scale", real(short)), *offset, ("values", numbers(np.array(flat, "<i4")))]
    unit = (document.frequency_hz or 50.0) if form.times == "cycles" else 1.0
    spans = [float(len(runs)), *(part for number, rate in runs for part in (number, unit / rate))]
    if form.times == "cycles":
        offset = [("offset", real(event.first_s * unit))] if event.first_s else []
    return [*offset, ("values", numbers(np.array(spans, "<f8")))]


def as_stored(values: NDArray[np.float64], form: Form) -> NDArray[Any]:
    """Return the numbers that are stored for values."""
    scale, offset = form.scale or (1.0, 0.0)
    raw = (values - offset) / scale
    return raw.astype(form.stored) if "f" in form.stored else np.round(raw).astype(form.stored)


def as_read(values: NDArray[np.float64], form: Form) -> NDArray[np.float32]:
    """Return the values that a reader must find."""
    scale, offset = form.scale or (1.0, 0.0)
    return (as_stored(values, form).astype(np.float64) * scale + offset).astype(np.float32)


def _observation(document: Document, event: Event) -> Tree:
    form = document.form
    instances: Tree = []
    for index, values in event.values.items():
        if form.shared and instances:
            times: Tree = [("shared channel", uint(0)), ("shared series", uint(0))]
        else:
            times = _times(event, document)
        scale = [] if form.scale is None else [("scale", real(form.scale[0])), ("offset", real(form.scale[1]))]
        stored: Tree = [*scale, ("values", numbers(as_stored(values, form)))]
        series = [
            ("one series instance", times),
            *(("one series instance", stored),) * len(document.channels[index].series),
        ]
        instances.append(("one channel instance", [("channel index", uint(index)), ("series instances", series)]))
    trigger = event.trigger_channel
    return [
        ("observation name", _text(event.name, form)),
        ("time create", stamp(event.start_ns)),
        ("time start", stamp(event.start_ns)),
        ("trigger method", uint(0 if trigger is None else 1)),
        ("time triggered", stamp(event.triggered_ns)),
        *([] if trigger is None else [("trigger channels", numbers(np.array([trigger], "<u4")))]),
        *([("disturbance", identity(event.disturbance))] if event.disturbance else []),
        ("channel instances", instances),
    ]


def body(tree: Tree, form: Form) -> bytes:
    """Return the bytes of a record's body."""
    stored = bytearray()

    def place(content: bytes) -> int:
        at = len(stored)
        stored.extend(content + bytes(-len(content) % 4))
        return at

    def add(entries: Tree) -> tuple[int, int]:
        entries = [*([("blank", uint(0))] if form.blanks else []), *entries]
        if form.reverse and len({name for name, _ in entries}) == len(entries):
            entries = entries[::-1]
        size = 4 + 28 * len(entries)
        at = -1 if form.backwards else place(bytes(size))
        packed = struct.pack("<I", len(entries)) + b"".join(entry(name, value) for name, value in entries)
        if at < 0:
            at = place(packed)
        else:
            stored[at : at + size] = packed
        return at, size

    def entry(name: str, value: Value) -> bytes:
        if isinstance(value, list):
            return guid(name) + bytes((1, 0, 0, 0)) + struct.pack("<II", *add(value))
        if isinstance(value, Vector):
            content = struct.pack("<I", value.count) + value.content
            return guid(name) + bytes((3, value.type, 0, 0)) + struct.pack("<II", place(content), len(content))
        if form.embed and len(value.content) <= 8:
            return guid(name) + bytes((2, value.type, 1, 0)) + value.content.ljust(8, b"\0")
        return guid(name) + bytes((2, value.type, 0, 0)) + struct.pack("<II", place(value.content), len(value.content))

    if form.backwards:
        # The root must come first, so its place is reserved and filled last.
        entries = [*([("blank", uint(0))] if form.blanks else []), *tree]
        place(bytes(4 + 28 * len(entries)))
        packed = struct.pack("<I", len(entries)) + b"".join(entry(name, value) for name, value in entries)
        stored[: len(packed)] = packed
    else:
        add(tree)
    return bytes(stored)


def compressed(content: bytes, streams: int) -> bytes:
    """Compress a body into a number of zlib streams, one after another."""
    part = -(-len(content) // streams)
    return b"".join(zlib.compress(content[at : at + part]) for at in range(0, len(content), part))


def chained(bodies: Sequence[tuple[str, bytes, bool]], form: Form) -> bytes:
    """Return records with headers and links; the third part of a body says if it may be compressed."""
    parts = []
    for tag, plain, may_compress in bodies:
        stored = compressed(plain, form.streams) if form.compress and may_compress else plain
        checksum = {
            "": 0, "adler": zlib.adler32(stored), "crc": zlib.crc32(stored), "crc inflated": zlib.crc32(plain),
            "wrong": 12345,
        }[form.checksum]  # fmt: skip
        parts.append((tag, stored, checksum))
    places = list(range(len(parts)))
    if form.moved:
        places[1:] = random.Random(1).sample(places[1:], len(places) - 1)
    at, positions = 0, {}
    for place in places:
        positions[place] = at
        at += 64 + len(parts[place][1])
    content = bytearray(at)
    for number, (tag, stored, checksum) in enumerate(parts):
        following = positions.get(number + 1, 0)
        header = guid("signature") + guid(tag) + struct.pack("<4I", 64, len(stored), following, checksum) + bytes(16)
        position = positions[number]
        content[position : position + 64 + len(stored)] = header + stored
    return bytes(content)


def three_phase(
    rate_hz: float, seconds: float, *, frequency_hz: float = 60.0, volt: float = 3_000.0, ampere: float = 300.0
) -> dict[int, NDArray[np.float64]]:
    """Return voltages and currents of the channels ``SIX`` with a fault of phase A after half of the time."""
    time = np.arange(round(rate_hz * seconds)) / rate_hz
    values = {}
    for index in range(6):
        angle = 2 * np.pi * (frequency_hz * time - index % 3 / 3) - (0.4 if index >= 3 else 0.0)
        wave = (volt if index < 3 else ampere) * np.sqrt(2) * np.cos(angle)
        factor = {0: 0.3, 3: 8.0}.get(index, 1.0)
        values[index] = np.where(time < seconds / 2, wave, factor * wave)
    return values


def document(form: Form | None = None, **changes: Any) -> Document:
    """Return a file of one event on six channels."""
    one = Document(SIX, (Event(three_phase(7680.0, 0.2)),), form=form or Form())
    return replace(one, **changes)
