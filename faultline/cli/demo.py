"""``faultline demo``: see it work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    lines: Annotated[int, typer.Option(help="Simulated lines.", min=1, max=1000)] = 24,
    seconds: Annotated[float, typer.Option(help="Length of the recording that is replayed.", min=2.0)] = 60.0,
    seed: Annotated[int, typer.Option(help="The same seed simulates the same faults.", min=0)] = 7,
    keep: Annotated[
        Path | None, typer.Option(help="Keep the recording and all logs in this folder.", show_default=False)
    ] = None,
) -> None:
    """Find faults of simulated lines, live: broker, worker, replayer and subscriber, each a process.

    Nothing needs to be installed or running: the broker is the embedded one, the model ships with the package. The
    last line printed is JSON with what really went through the topics. The exit status is 0 only if no window was
    lost. Ctrl-C leaves no process behind.

    Example: faultline demo --lines 40 --seconds 30 --seed 1
    """
    from faultline.demo.run import DemoOptions, run_demo

    raise typer.Exit(run_demo(DemoOptions(lines, seconds, seed, keep)))
