"""Measure the engine's CPU time per window, for a batch of many lines and for the backlog of few lines.

python -m benchmarks.engine.cost                    # this checkout
python -m benchmarks.engine.cost --beside PATH      # and another checkout's engine with its own model, in turns

A batch has 1,024 windows of as many lines; the backlog has 100,000 windows of 24 lines, in micro-batches of 4,096. One
run of a load computes about 25,000 windows of the batch, or the whole backlog.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["LOADS", "Checkout", "ratio", "text"]

LOADS = ("batch", "backlog")
_HERE = Path(__file__).resolve().parents[2]


class Checkout:
    """The process that measures one checkout's engine; it waits while it is not asked.

    Args:
        path: root of the checkout.

    Raises:
        RuntimeError: the process ended, for example because its model cannot be loaded.
    """

    def __init__(self, path: Path) -> None:
        script = Path(__file__).with_name("cost_process.py")
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(script)],
            env=os.environ | {"PYTHONPATH": str(path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready: dict[str, float] = self._answer()

    def cost(self, load: str) -> dict[str, float]:
        """Return the CPU time in µs per window (``us``) and the windows/s of one run of a load."""
        assert self._process.stdin is not None
        print(load, file=self._process.stdin, flush=True)
        measured: dict[str, float] = self._answer()
        return measured

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of the engine ended with status {self._process.wait()}")
        return json.loads(line)


def ratio(ours: list[float], others: list[float]) -> float:
    """Return the median over the turns of our CPU time divided by the other's."""
    return statistics.median(one / other for one, other in zip(ours, others, strict=True))


def text(found: dict[str, list[list[dict[str, float]]]], ready: list[dict[str, float]]) -> str:
    """Return a sentence for each load, one for the start, and one for the machine's load.

    Args:
        found: results by load, for every checkout one result per turn.
        ready: durations of the start of every checkout.
    """
    lines = []
    for load, several in found.items():
        us = [[turn["us"] for turn in turns] for turns in several]
        parts = [f"{statistics.median(turns):.1f} µs" for turns in us]
        compared = f", ratio {ratio(*us):.2f}" if len(us) == 2 else ""
        lines.append(f"{load}: CPU per window {' beside '.join(parts)}{compared}")
    starts = " beside ".join(f"{one['warm_cpu_s']:.1f} s of CPU, {one['wall_s']:.1f} s in all" for one in ready)
    return "\n".join([*lines, f"ready after {starts}", f"load average {os.getloadavg()[0]:.1f}"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="CPU time of the engine per window")
    parser.add_argument("--beside", type=Path, help="root of another checkout of Faultline")
    parser.add_argument("--turns", type=int, default=5, help="runs of every load, in alternating order")
    options = parser.parse_args()
    # One process starts after the other, so that neither slows the other's start.
    checkouts = [Checkout(path) for path in (_HERE, options.beside) if path is not None]
    found: dict[str, list[list[dict[str, float]]]] = {load: [[] for _ in checkouts] for load in LOADS}
    for turn in range(options.turns):
        for load in LOADS:
            for index in range(len(checkouts))[:: -1 if turn % 2 else 1]:
                found[load][index].append(checkouts[index].cost(load))
    for checkout in checkouts:
        checkout.close()
    print(text(found, [checkout.ready for checkout in checkouts]))


if __name__ == "__main__":
    main()
