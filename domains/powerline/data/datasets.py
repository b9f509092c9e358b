"""Write and read data sets of simulated episodes in Parquet, one row per episode.

Samples, classes and the flags of settled classes are lists as long as the record. The simulated parameters are in
separate columns. The file's metadata holds the schema version and the recipe of the data set.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from domains.powerline.simulator.episodes import ScenarioMix, simulate
from domains.powerline.simulator.events import PlannedEvent, cycles
from domains.powerline.simulator.faults import CLASSES
from domains.powerline.simulator.measurement import CHANNELS, HARSH, USUAL
from domains.powerline.simulator.solver import Command
from model.files import write_atomic
from model.frozen import FrozenModel
from stream.detection.truth import injected_faults
from training.data.episodes import Episodes, Event
from training.errors import DataSetError

METADATA = b"faultline-dataset"
PART = 256  # episodes per row group: about ten megabytes of long records
LINE_PARAMETERS: tuple[str, ...] = ("nominal_hz", "frequency_hz", "kilovolt", "base_ohm", "position", "load_angle_deg")
LINE_PARAMETERS += ("strength_local", "strength_remote")
INSTRUMENT_PARAMETERS = ("current_base", "noise_db", "knee_cycles", "harmonic_part", "jitter_samples", "gap_samples")
WIRING = ("lost", "stuck", "reversed", "connected")
BEYOND_OHM = (20.0, 100.0)  # fault resistances that training never uses


class DataSetRecipe(FrozenModel):
    """Parameters from which a set is simulated; the same recipe gives the same set. The file's metadata holds it."""

    schema_version: Literal[1] = 1
    episodes: int = Field(ge=1)
    seed: int = Field(ge=0)
    length_cycles: float = Field(default=40.0, ge=3)
    fault_share: float = Field(default=0.5, ge=0, le=1)
    beyond_share: float = Field(default=0.1, ge=0, le=1)
    """Share of the episodes with faults of 20 to 100 ohm, for the held-out band."""
    nominal_hz: Literal[50, 60] | None = None
    instruments: Literal["usual", "harsh", "none"] = "usual"
    samples_per_cycle: Literal[32] = 32
    channels: tuple[str, ...] = CHANNELS
    classes: tuple[str, ...] = CLASSES


def write_dataset(path: Path, recipe: DataSetRecipe) -> None:
    """Simulate the episodes of ``recipe`` and write them; the file gets its name only when it is complete.

    Raises:
        DataSetError: the file cannot be written.
    """
    schema = _schema(recipe)
    try:
        with write_atomic(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
            first = 0
            for episodes in simulated(recipe):
                writer.write_table(_table(episodes, first, schema))
                first += len(episodes)
    except OSError as error:
        raise DataSetError(f"{path}: cannot be written: {error.strerror or error}") from error


def simulated(recipe: DataSetRecipe) -> Iterator[Episodes]:
    """Simulate the episodes of ``recipe``; yield them in parts of at most ``PART``, in the order of their numbers."""
    beyond = round(recipe.beyond_share * recipe.episodes)
    plans = (
        (recipe.episodes - beyond, ScenarioMix(fault_share=recipe.fault_share)),
        (beyond, ScenarioMix(fault_share=1.0, resistance_ohm=BEYOND_OHM)),
    )
    seeds = iter(np.random.SeedSequence(recipe.seed).generate_state(recipe.episodes // PART + 4).tolist())
    for count, mix in plans:
        for first in range(0, count, PART):
            yield simulate(
                min(PART, count - first),
                next(seeds),
                length_cycles=recipe.length_cycles,
                mix=mix,
                nominal_hz=recipe.nominal_hz,
                instruments={"usual": USUAL, "harsh": HARSH, "none": None}[recipe.instruments],
            )


def _schema(recipe: DataSetRecipe) -> pa.Schema:
    length = cycles(recipe.length_cycles)
    return pa.schema(
        [
            ("episode", pa.int64()),
            ("kind", pa.string()),
            ("classes", pa.list_(pa.string())),
            ("inception", pa.int32()),  # first faulty sample; null without a fault
            ("clearing", pa.int32()),  # first sample without the fault; null if the fault outlasts the record
            ("resistance_ohm", pa.float64()),
            *((name, pa.float64()) for name in (*LINE_PARAMETERS, *INSTRUMENT_PARAMETERS)),
            *((name, pa.string()) for name in WIRING),
            ("occurrences", pa.string()),  # JSON of the planned events
            ("samples", pa.list_(pa.float32(), length * len(recipe.channels))),
            ("labels", pa.list_(pa.int8(), length)),
            ("settled", pa.list_(pa.bool_(), length)),
        ],
        metadata={METADATA: recipe.model_dump_json().encode()},
    )


def _table(episodes: Episodes, first: int, schema: pa.Schema) -> pa.Table:
    columns: dict[str, Any] = {name: [] for name in schema.names[:6]}
    faults = {fault.line: fault for fault in injected_faults(episodes.labels)[::-1]}
    length = episodes.labels.shape[1]
    for n, events in enumerate(episodes.events):
        fault = faults.get(n)
        planned = [event for event in events if event.stages]
        columns["episode"].append(first + n)
        columns["kind"].append((planned or [*events])[0].kind if events else "switched_out")
        columns["classes"].append([CLASSES[c] for c in fault.classes] if fault else [])
        columns["inception"].append(fault.begin if fault else None)
        columns["clearing"].append(fault.end if fault and fault.end < length else None)
        columns["resistance_ohm"].append(planned[0].parameters["resistance_ohm"] if planned else None)
    for name in (*LINE_PARAMETERS, *INSTRUMENT_PARAMETERS, *WIRING):
        columns[name] = [line.get(name) for line in episodes.lines]
    columns["occurrences"] = [_as_json(events) for events in episodes.events]
    for name in ("samples", "labels", "settled"):
        values = getattr(episodes, name)
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        columns[name] = pa.FixedSizeListArray.from_arrays(flat, int(np.prod(values.shape[1:])))
    return pa.table(columns, schema=schema)


def _as_json(events: Sequence[Event]) -> str:
    """Return the planned events as JSON, modulations by name and parameters; an open branch's resistance is null."""
    plain = []
    for o in events:
        if not isinstance(o, PlannedEvent):
            raise DataSetError(f"an event {o.kind!r} has no plan: write simulated episodes only")
        commands = [[c.sample, c.action, [float(v) if np.isfinite(v) else None for v in c.value]] for c in o.commands]
        modulations = [{"name": type(m).__name__, **asdict(m)} for m in o.modulations]  # type: ignore[call-overload]
        entry = {"kind": o.kind, "start": o.start, "stop": o.stop, "classes": o.stages, "parameters": o.parameters}
        plain.append({**entry, "commands": commands, "modulations": modulations})
    return json.dumps(plain, default=float)


def _from_json(text: str) -> tuple[PlannedEvent, ...]:
    return tuple(
        PlannedEvent(
            kind=o["kind"],
            start=o["start"],
            stop=o["stop"],
            commands=tuple(
                Command(sample, action, tuple(np.inf if v is None else v for v in value))
                for sample, action, value in o["commands"]
            ),
            stages=tuple((sample, name) for sample, name in o["classes"]),
            parameters=o["parameters"],
        )
        for o in json.loads(text)
    )


@dataclass(frozen=True)
class DataSet:
    """Data set in a file. ``index`` holds all columns except the records, with one entry per episode."""

    path: Path
    recipe: DataSetRecipe
    index: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.index["episode"])

    def episodes(self, numbers: NDArray[np.int64] | None = None) -> Iterator[tuple[NDArray[np.int64], Episodes]]:
        """Yield the episodes ``numbers`` (all by default) in parts with their numbers, in the order of the file.

        Modulations of sources are not read back: the samples already contain their effect.
        """
        with _opened(self.path) as file:
            for group in range(file.num_row_groups):
                held = file.read_row_group(group, columns=["episode"]).column(0).to_numpy()
                wanted = np.ones(len(held), bool) if numbers is None else np.isin(held, numbers)
                if wanted.any():
                    table = file.read_row_group(group).filter(pa.array(wanted))
                    yield held[wanted], self._episodes_of(table)

    def _episodes_of(self, table: pa.Table) -> Episodes:
        def block(name: str) -> NDArray[Any]:
            column = table.column(name).combine_chunks()
            return np.asarray(column.flatten().to_numpy(zero_copy_only=False)).reshape(len(table), -1)

        names = [*LINE_PARAMETERS, *INSTRUMENT_PARAMETERS, *WIRING]
        return Episodes(
            block("samples").reshape(len(table), -1, len(self.recipe.channels)),
            block("labels"),
            block("settled"),
            tuple(_from_json(text) for text in table.column("occurrences").to_pylist()),
            tuple({k: v for k, v in row.items() if v is not None} for row in table.select(names).to_pylist()),
        )


def open_dataset(path: Path) -> DataSet:
    """Open a set and read its index.

    Raises:
        DataSetError: the file is not a data set, or has another version of the schema.
    """
    with _opened(path) as file:
        raw = (file.schema_arrow.metadata or {}).get(METADATA)
        if raw is None:
            raise DataSetError(f"{path} is not a Faultline data set; make one with `faultline simulate --dataset`")
        try:
            recipe = DataSetRecipe.model_validate_json(raw)
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise DataSetError(f"{path} was made by another version ({wrong}); simulate it again") from error
        if not file.schema_arrow.equals(_schema(recipe)):
            raise DataSetError(
                f"{path}: the columns are not those of schema version {recipe.schema_version}; simulate it again"
            )
        table = file.read(columns=[n for n in file.schema_arrow.names if n not in ("samples", "labels", "settled")])
    return DataSet(
        path, recipe, {name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names}
    )


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise DataSetError(
            f"{path}: cannot be read as Parquet ({why}); make a data set with `faultline simulate --dataset`"
        ) from error
