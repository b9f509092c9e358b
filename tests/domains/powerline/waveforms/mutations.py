"""Broken records: valid ones with bytes, lines and numbers changed, cut, repeated or invented."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.domains.powerline.waveforms.formats import pqdif_seeds
from tests.domains.powerline.waveforms.formats.relay_seeds import relay_seeds
from tests.domains.powerline.waveforms.formats.table_seeds import table_seeds
from tests.domains.powerline.waveforms.record_samples import Shape, load_waves, write_record

HOSTILE = (
    b"", b"0", b"-1", b"1e308", b"-1e-320", b"nan", b"inf", b"4294967295", b"9999999999999", b"99999999A", b"0A",
    b"x", b",", b",,,,,,,,,,,,", b"\x00", b"\xff\xfe", b"\x1a", b"BINARY", b"ASCII", b"FLOAT32", b"2013", b"1e9",
    b"--- file type: DAT BINARY: 99999999999 ---", b"1,2,3", b"\n", b"\r", "电".encode("gbk"),
)  # fmt: skip
Mutate = Callable[[random.Random, bytes], bytes]


def _flip_bytes(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 12)):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _drop_middle(rng: random.Random, data: bytes) -> bytes:
    a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:a] + data[b:]


def _insert(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(HOSTILE) * rng.choice((1, 1, 1, 50)) + data[at:]


def _repeat(rng: random.Random, data: bytes) -> bytes:
    a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:b] + data[a:b] * rng.randint(1, 3) + data[b:]


def _fields(rng: random.Random, data: bytes) -> bytes:
    """Replace whole fields of lines by harmful ones, which changes of single bytes seldom produce."""
    lines = data.split(b"\n")
    for _ in range(rng.randint(1, 4)):
        k = rng.randrange(min(len(lines), 30))
        cells = lines[k].split(b",")
        cells[rng.randrange(len(cells))] = rng.choice(HOSTILE)
        lines[k] = b",".join(cells)
    return b"\n".join(lines)


def _swap_lines(rng: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return b"\n".join(lines)


def _noise(rng: random.Random, data: bytes) -> bytes:
    return rng.randbytes(rng.randrange(600))


MUTATIONS: tuple[Mutate, ...] = (
    _flip_bytes, _cut, _drop_middle, _insert, _repeat, _fields, _fields, _fields, _swap_lines, _noise,
)  # fmt: skip


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Return ``data`` after one to three mutations."""
    for _ in range(rng.randint(1, 3)):
        data = rng.choice(MUTATIONS)(rng, data)
    return data


def seeds(folder: Path) -> list[dict[str, bytes]]:
    """Return the contents of valid records to start from, by suffix."""
    shapes = [
        Shape(revision=revision, data_format=data_format, container=container, rates=rates, segments=segments)
        for revision in ("1991", "1999", "2013")
        for data_format in ("ASCII", "BINARY", "BINARY32", "FLOAT32")
        for container, rates, segments in (
            ("pair", "header", ((1000.0, 80),)),
            ("cff", "none", ((1000.0, 60), (500.0, 20))),
        )
    ]
    found = []
    for number, shape in enumerate(shapes):
        path = write_record(folder, shape, load_waves(shape), stem=f"seed{number}").path
        suffixes = (".cff",) if shape.container == "cff" else (".cfg", ".dat")
        found.append({suffix: path.with_suffix(suffix).read_bytes() for suffix in suffixes})
    return [*found, *_tables(folder), *relay_seeds(folder), *pqdif_seeds.seeds(), *table_seeds(folder)]


def _tables(folder: Path) -> list[dict[str, bytes]]:
    """Return CSV in several dialects, and Parquet."""
    header, values = "ia,ib,ic,va,vb,vc", [",".join(f"{k * j % 17}.5" for j in range(1, 7)) for k in range(80)]
    seconds = [f"time,{header}", *(f"{k / 1000},{row}" for k, row in enumerate(values))]
    european = [row.replace(",", ";").replace(".", ",") for row in seconds]
    dates = [f"timestamp,{header}", *(f"2024-01-02T03:04:05.{k:03d},{row}" for k, row in enumerate(values))]
    class_data = ["G,C,B,A,Ia,Ib,Ic,Va,Vb,Vc", *(f"1,0,0,{k // 40},{row}" for k, row in enumerate(values))]
    tables = [{".csv": "\n".join(rows).encode()} for rows in (seconds, european, dates, class_data)]
    path = folder / "seed.parquet"
    columns = {name: [float(k * j % 13) for k in range(80)] for j, name in enumerate(header.split(","))}
    pq.write_table(pa.table({"time": [k / 1000 for k in range(80)], **columns}), path)
    return [*tables, {".parquet": path.read_bytes()}]


def write_mutated(rng: random.Random, seed: dict[str, bytes], folder: Path, stem: str) -> Path:
    """Write a broken copy of a seed and return the file that names it."""
    broken = rng.choice([*seed])
    for suffix, data in seed.items():
        wrong = suffix == broken or rng.random() < 0.2
        (folder / f"{stem}{suffix}").write_bytes(mutated(rng, data) if wrong else data)
    return folder / f"{stem}{next(iter(seed))}"
