"""Valid PQDIF files to damage: uncompressed ones, and bodies that are damaged before they are compressed."""

from __future__ import annotations

import random
import struct

import numpy as np

from tests.domains.powerline.waveforms.formats.pqdif_writer import (
    SECOND,
    SIX,
    Channel,
    Document,
    Event,
    Form,
    chained,
    compressed,
    document,
    guid,
    three_phase,
    write,
)

HOSTILE = (0, 1, 2, 3, 4, 27, 28, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF, 1 << 20, 21, 40, 41, 50, 60)


def seeds() -> list[dict[str, bytes]]:
    """Return the contents of valid files by suffix."""
    return [{".pqd": write(one)} for one in documents()]


def documents() -> list[Document]:
    """Return short files of different forms."""
    forms = (
        Form(compress=False),
        Form(compress=False, stored="<f4", scale=None, times="values", shared=False, embed=False),
        Form(compress=False, times="scaled increments", blanks=True, backwards=True, checksum=""),
        Form(compress=False, times="stamps", reverse=True, moved=True),
        Form(compress=True),
        Form(compress=True, streams=3, times="cycles", wide=True),
    )
    log = Channel("V log", "V", "A", kind="log")
    events = [
        Event(three_phase(1200.0, 0.1), rate_hz=1200.0, start_ns=(1_700_000_000 + k) * SECOND, trigger_channel=k)
        for k in range(2)
    ]
    mixed = Event({**three_phase(1200.0, 0.1), 6: np.ones(4)}, rate_hz=1200.0, disturbance="momentary sag")
    return [
        *(document(form, events=tuple(events)) for form in forms),
        Document((*SIX, log), (mixed,), use_ratios=True, form=Form(compress=False, shared=False)),
    ]


def damaged(rng: random.Random, one: Document) -> bytes:
    """Return a file in which fields of the bodies are damaged before they are compressed."""
    plain = write(Document(**{**vars(one), "form": Form(**{**vars(one.form), "compress": False, "moved": False})}))
    parts = plain.split(guid("signature"))[1:]
    bodies = []
    for part in parts:
        tag = next(name for name in ("container", "data source", "settings", "observation") if part[:16] == guid(name))
        body = bytearray(part[48:])
        for _ in range(rng.choice((0, 0, 1, 1, 2, 4)) if body else 0):
            at = rng.randrange(0, max(len(body) - 4, 1), 4)
            body[at : at + 4] = struct.pack("<I", rng.choice((*HOSTILE, rng.randrange(len(body)))))
        bodies.append((tag, bytes(body), tag != "container"))
    for _ in range(rng.choice((0, 0, 1))):
        bodies.insert(rng.randrange(len(bodies) + 1), rng.choice(bodies))
    return chained(bodies, one.form)


def nested_streams(rng: random.Random) -> bytes:
    """Return a file with a body that is compressed twice, or that inflates to many times its size."""
    content = bytes(rng.randrange(1 << 26)) if rng.random() < 0.5 else compressed(rng.randbytes(300), 2)
    return chained([("container", bytes(4), False), ("data source", content, True)], Form())
