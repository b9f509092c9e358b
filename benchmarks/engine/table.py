"""Compare our engine with keras, ONNX Runtime and OpenVINO, and with the lower bound of the network's computing time.

The bound is the time of the network's products with its weights, by the faster of NumPy's BLAS and XLA, with one caller
per core, in whole shares or in cache-sized blocks. It excludes the phasors, the activations and the gates.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from benchmarks.engine.contenders import BOUND, OURS, TITLES
from benchmarks.engine.process import Contender
from model.architectures import build
from model.artefact import Artefact
from model.errors import EngineError

__all__ = ["AGREEMENT", "BATCHES", "Found", "engine_table", "measure", "without_phasors"]

BATCHES = (1, 16, 64, 256, 1024, 4096)
AGREEMENT = 1e-4
"""Largest tolerated difference between the probabilities of two contenders."""


@dataclass
class Found:
    """Results for one model: windows/s by contender and batch, one per turn."""

    model: str
    contenders: tuple[str, ...]
    batches: tuple[int, ...]
    arrangements: dict[tuple[str, int], str] = field(default_factory=dict)
    differences: dict[tuple[str, int], float] = field(default_factory=dict)
    rates: dict[tuple[str, int], list[float]] = field(default_factory=dict)

    def rate(self, contender: str, batch: int) -> float:
        """Return the median windows/s."""
        return statistics.median(self.rates[contender, batch])

    def ratio(self, contender: str, other: str, batch: int) -> float:
        """Return the median over the turns of the ratio of two contenders' rates."""
        pairs = zip(self.rates[contender, batch], self.rates[other, batch], strict=True)
        return statistics.median(one / two for one, two in pairs)

    def as_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        rows = [
            {
                "batch": batch,
                "contender": name,
                "arrangement": self.arrangements[name, batch],
                "windows_per_s": round(self.rate(name, batch)),
                "of_bound": round(self.ratio(name, BOUND, batch), 3),
                "of_ours": round(self.ratio(name, OURS, batch), 3),
                "largest_difference": self.differences.get((name, batch)),
                "turns": [round(rate) for rate in self.rates[name, batch]],
            }
            for batch in self.batches
            for name in self.contenders
        ]
        return {"model": self.model, "rows": rows}


def without_phasors(artefact: Artefact, seed: int = 7) -> Artefact:
    """Return the network without the phasors: it gets whole windows instead, and keeps the trained GRU.

    The first layer has random weights, since that of the artefact has other inputs. The cost of a window depends only
    on shapes.
    """
    manifest = artefact.manifest
    normalisation = manifest.normalisation.model_copy(update={"phasors": False})
    model = build(manifest.architecture, manifest.spec, normalisation, seed=seed)
    for weight in model.weights:
        if not weight.path.startswith("window_1/"):
            weight.assign(artefact.weights[weight.path])
    return Artefact.from_model(model, manifest.spec, architecture=manifest.architecture, normalisation=normalisation)


def measure(
    model: str,
    artefact: Artefact,
    windows: NDArray[np.float32],
    *,
    contenders: Iterable[str],
    batches: Iterable[int] = BATCHES,
    turns: int = 6,
    seconds: float = 0.4,
    say: Callable[[str], None] = lambda _: None,
) -> Found:
    """Run all contenders on the same windows, in turns of alternating order.

    Args:
        model: name of the model in the table.
        artefact: a network with a memory.
        windows: float32 (n, samples, channels), at least as many as the largest batch.
        contenders: names of contenders; our engine and the bound always run.
        batches: numbers of windows per call.
        turns: runs of every contender for every batch.
        seconds: duration of one run.
        say: called with a description of the current step.

    Raises:
        EngineError: a contender's probabilities differ from ours, or it fails.
    """
    names = tuple(dict.fromkeys((OURS, *contenders, BOUND)))
    found = Found(model, names, tuple(batches))
    with ExitStack() as stack:
        running = {name: stack.enter_context(Contender(name, artefact, windows)) for name in names}
        for batch in found.batches:
            say(f"{model}: arrangements for batches of {batch}")
            ours: NDArray[np.float32] | None = None
            for name, contender in running.items():
                found.arrangements[name, batch] = contender.arrange(batch)
                if name == BOUND:
                    continue
                answers = contender.answers(batch)
                ours = answers if ours is None else ours
                found.differences[name, batch] = _largest_difference(name, answers, ours)
        for turn in range(turns):
            for batch in found.batches:
                say(f"{model}: turn {turn + 1} of {turns}, batches of {batch}")
                for name in names[:: -1 if turn % 2 else 1]:
                    rate = running[name].windows_per_s(batch, seconds)
                    found.rates.setdefault((name, batch), []).append(rate)
    return found


def _largest_difference(name: str, answers: NDArray[np.float32], ours: NDArray[np.float32]) -> float:
    difference = float(np.abs(answers - ours).max()) if answers.shape == ours.shape else float("inf")
    if not difference <= AGREEMENT:
        raise EngineError(
            f"{TITLES[name]}: the probabilities of {len(ours)} windows differ from Faultline's by up to "
            f"{difference:.1e}, more than {AGREEMENT:g}"
        )
    return difference


def engine_table(found: Found) -> Table:
    """Return a table with one row per batch and contender."""
    table = Table(title=f"Engine alone, {found.model}: windows/s", title_justify="left")
    for name, side in (
        ("batch", "right"),
        ("contender", "left"),
        ("windows/s", "right"),
        ("ratio to the bound", "right"),
        ("ratio to Faultline", "right"),
        ("arrangement", "left"),
    ):
        table.add_column(name, justify="right" if side == "right" else "left")
    for batch in found.batches:
        for index, name in enumerate(found.contenders):
            table.add_row(
                str(batch) if index == 0 else "",
                TITLES[name],
                f"{found.rate(name, batch):,.0f}",
                f"{found.ratio(name, BOUND, batch):.2f}",
                f"{found.ratio(name, OURS, batch):.2f}",
                found.arrangements[name, batch],
            )
        table.add_section()
    return table
