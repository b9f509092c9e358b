"""Measure the engine with one Keras backend, in a process that ``gpu`` starts."""

from __future__ import annotations

import json
import logging
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import structlog
from keras import ops
from rich.console import Console
from rich.table import Table

from model.artefact import Artefact, shipped
from model.engine import Copied, Engine
from model.engine.compile import has_accelerator

__all__ = ["AGREEMENT", "FEW_LINES", "WAYS", "copy_ms", "measure", "table"]

FEW_LINES = 24
# Largest difference between the probabilities of two ways to compute the same windows.
AGREEMENT = 1e-4
WAYS = {"kept": "memories kept on the device", "copied": "copied to and fro", "follow": "Engine.follow"}
TURNS = 3
# Number of copies of which the median counts.
_COPIES = 9


def devices() -> dict[str, Any]:
    """Return version, devices and whether there is an accelerator, for the Keras backend of this process."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        names = [device.device_kind for device in jax.devices()]
    elif backend == "torch":
        import torch

        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    else:
        import tensorflow as tf

        found = tf.config.list_physical_devices("GPU")
        names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in found]
    own = platform.processor() or platform.machine()
    names = [f"CPU {own}" if name == "cpu" else name for name in names] or [f"CPU {own}"]
    return {"version": _version(backend), "devices": names, "accelerated": has_accelerator()}


def _version(backend: str) -> str:
    module = __import__(backend)
    return str(module.__version__)


def _wait(tensor: Any) -> None:
    """Return when ``tensor`` is on the device."""
    backend = keras.backend.backend()
    if backend == "jax":
        tensor.block_until_ready()
    elif backend == "torch":
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
    else:
        import tensorflow as tf

        tf.test.experimental.sync_devices()


def copy_ms(copied: Copied) -> float:
    """Return the time in ms to copy as many bytes to the device and to the host, each in one piece: the median."""
    up, down = (np.ones(max(1, size // 4), np.float32) for size in (copied.to_device, copied.to_host))
    took = []
    for _ in range(_COPIES):
        there = ops.convert_to_tensor(down)  # a new one each time: JAX keeps what it has copied to the host
        _wait(there)
        began = time.perf_counter()
        _wait(ops.convert_to_tensor(up))
        ops.convert_to_numpy(there)
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e3


def _rate(call: Callable[[], object], count: int, seconds: float) -> float:
    began, done = time.perf_counter(), 0
    while (took := time.perf_counter() - began) < seconds or not done:
        call()
        done += count
    return done / took


def measure(engine: Engine, batch: int, lines: int, seconds: float) -> dict[str, Any]:
    """Measure batches of ``batch`` windows that belong in turn to ``lines`` lines.

    Returns:
        Windows/s of each of ``WAYS`` (the median of three runs), and for memories that are kept and that are copied the
        bytes of a call to the device and to the host, and the ms to copy so many bytes.

    Raises:
        AssertionError: the probabilities of two ways differ.
    """
    windows = np.random.default_rng(batch).normal(size=(batch, *engine.spec.window_shape)).astype(np.float32)
    line, every = np.arange(batch) % lines, np.arange(lines)
    memories, copied = engine.device_memories(lines), engine.device_memories(lines)
    state = {way: np.zeros((lines, engine.memory_units), np.float32) for way in ("copied", "follow")}

    def call_copied() -> Any:
        copied.write(every, state["copied"])
        answers = copied.follow(windows, line)
        state["copied"] = copied.read(every)
        return answers

    def call_follow() -> Any:
        answers, state["follow"] = engine.follow(windows, line, state["follow"])
        return answers

    calls = {"kept": lambda: memories.follow(windows, line), "copied": call_copied, "follow": call_follow}
    answers = {way: call() for way, call in calls.items()}  # compiles
    for way in ("copied", "follow"):
        worst = float(np.abs(answers[way] - answers["kept"]).max())
        assert worst <= AGREEMENT, f"{WAYS[way]} differs by {worst:.1e} from {WAYS['kept']}"
    first = {"kept": memories.copied, "copied": copied.copied}  # bytes of one call of each
    bytes_of = {way: Copied(one.to_device, one.to_host) for way, one in first.items()}
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(TURNS):
        for way in list(WAYS)[:: -1 if turn % 2 else 1]:
            rates[way].append(_rate(calls[way], batch, seconds))
    return {
        "batch": batch,
        "lines": lines,
        "windows_per_s": {way: statistics.median(several) for way, several in rates.items()},
        "copies": {
            way: {"to_device": one.to_device, "to_host": one.to_host, "ms": copy_ms(one)}
            for way, one in bytes_of.items()
        },
    }


def table(rows: list[dict[str, Any]]) -> Table:
    """Return the table of all measurements."""
    made = Table(title="Engine: windows/s, and copies of one call to + from the device", title_justify="left")
    made.add_column("windows of a call")
    for title in WAYS.values():
        made.add_column(title, justify="right")
    for way in ("kept", "copied"):
        made.add_column(f"copies, {way}", justify="right")
    for row in rows:
        each = "one each" if row["lines"] == row["batch"] else "in turn"
        rates = [f"{row['windows_per_s'][way]:,.0f}" for way in WAYS]
        copies = [
            f"{one['to_device'] / 1e3:,.0f} + {one['to_host'] / 1e3:,.0f} kB, {one['ms']:.2f} ms"
            for one in (row["copies"][way] for way in ("kept", "copied"))
        ]
        made.add_row(f"{row['batch']:,} of {row['lines']:,} lines, {each}", *rates, *copies)
    return made


def _main() -> None:
    if sys.argv[1] == "--devices":
        print(json.dumps(devices()))
        return
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    settings = json.loads(sys.argv[1])
    artefact = shipped("line") if settings["model"] is None else Artefact.load(Path(settings["model"]))
    console, rows = Console(stderr=True), []
    with Engine(artefact) as engine, console.status("measuring") as status:
        for few in (False, True):
            # Up to as many windows as lines, both loads are the same.
            for batch in [one for one in settings["batches"] if one > FEW_LINES or not few]:
                lines = min(FEW_LINES, batch) if few else batch
                status.update(f"{batch} windows of {lines} lines")
                rows.append(measure(engine, batch, lines, settings["seconds"]))
    Console(width=None if sys.stdout.isatty() else 160).print(table(rows))
    if settings["out"]:
        found = {
            "backend": keras.backend.backend(),
            **devices(),
            "keras": version("keras"),
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "model": artefact.model_id,
            "seconds": settings["seconds"],
            "rows": rows,
        }
        Path(settings["out"]).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _main()
