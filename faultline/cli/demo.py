"""Define ``faultline demo``, which detects faults of simulated lines live."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    lines: Annotated[int, typer.Option(help="Number of simulated lines.", min=1, max=1000)] = 24,
    seconds: Annotated[float, typer.Option(help="Length of the simulated recording, seconds.", min=2.0)] = 60.0,
    seed: Annotated[int, typer.Option(help="Seed of the simulation: the same seed gives the same faults.", min=0)] = 7,
    keep: Annotated[
        Path | None, typer.Option(help="Folder in which the recording and all logs are kept.", show_default=False)
    ] = None,
) -> None:
    """Simulate power lines and detect their faults live, with broker, worker, replayer and subscriber as processes.

    Nothing else needs to be installed or running: the demo starts an embedded broker and uses the model that ships
    with the package. The last line of the output is JSON: the windows sent and lost, the faults found and missed, and
    the latencies, all as read from the topics. The exit status is 0 only if no window was lost. Ctrl-C ends every
    process of the demo.

    Example: `faultline demo --lines 40 --seconds 30 --seed 1`
    """
    from faultline.demo.run import DemoOptions, run_demo

    raise typer.Exit(run_demo(DemoOptions(lines, seconds, seed, keep)))
