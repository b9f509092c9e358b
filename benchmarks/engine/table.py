"""Our engine beside keras, ONNX Runtime and OpenVINO, and beside the least that a GRU's recurrence costs here.

The bound is the time of the bare recurrent products: float32 (batch, 64) @ (64, 192) once per sample of a window, by
the fastest of NumPy's BLAS and XLA's, a caller per core, in whole shares or in cache-sized blocks. The products with
the inputs, the gates and every other layer are left out of it.
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
"""Probabilities of two contenders may differ by this much."""


@dataclass
class Found:
    """What was measured of one model: windows/s by contender and batch, one per turn."""

    model: str
    contenders: tuple[str, ...]
    batches: tuple[int, ...]
    arrangements: dict[tuple[str, int], str] = field(default_factory=dict)
    differences: dict[tuple[str, int], float] = field(default_factory=dict)
    rates: dict[tuple[str, int], list[float]] = field(default_factory=dict)

    def rate(self, contender: str, batch: int) -> float:
        """Median windows/s."""
        return statistics.median(self.rates[contender, batch])

    def ratio(self, contender: str, other: str, batch: int) -> float:
        """Median over the turns of one's rate over another's, which ran just before or after."""
        pairs = zip(self.rates[contender, batch], self.rates[other, batch], strict=True)
        return statistics.median(one / two for one, two in pairs)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
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
    """The same trained GRU and hidden layer, then logits: the network without what a relay measures.

    Its output layer is freshly drawn, because in the artefact it reads more; what a window costs depends on shapes.
    """
    manifest = artefact.manifest
    normalisation = manifest.normalisation.model_copy(update={"phasors": False})
    model = build(manifest.architecture, manifest.spec, normalisation, seed=seed)
    for weight in model.weights:
        if not weight.path.startswith("logits/"):
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
        model: what the table calls it.
        artefact: of a GRU over the samples of a window.
        windows: float32 (n, samples, channels), at least as many as the largest batch.
        contenders: names; ours and the bound always run.
        batches: how many windows a call is given.
        turns: runs of every contender for every batch.
        seconds: of one run.
        say: told what is being done.

    Raises:
        EngineError: a contender answers otherwise than ours, or fails.
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
                found.differences[name, batch] = _agreed(name, answers, ours)
        for turn in range(turns):
            for batch in found.batches:
                say(f"{model}: turn {turn + 1} of {turns}, batches of {batch}")
                for name in names[:: -1 if turn % 2 else 1]:
                    rate = running[name].windows_per_s(batch, seconds)
                    found.rates.setdefault((name, batch), []).append(rate)
    return found


def _agreed(name: str, answers: NDArray[np.float32], ours: NDArray[np.float32]) -> float:
    difference = float(np.abs(answers - ours).max()) if answers.shape == ours.shape else float("inf")
    if not difference <= AGREEMENT:
        raise EngineError(f"{TITLES[name]} answers {len(ours)} windows otherwise than ours, by up to {difference:.1e}")
    return difference


def engine_table(found: Found) -> Table:
    """One row per batch and contender."""
    table = Table(title=f"Engine alone, {found.model}: windows/s", title_justify="left")
    for name, side in (
        ("batch", "right"),
        ("contender", "left"),
        ("windows/s", "right"),
        ("of the bound", "right"),
        ("of ours", "right"),
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
