"""Show the progress of long computations as a bar on standard error."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["progress_bar"]


def progress_bar(*, wanted: bool) -> Progress:
    """Return a progress bar that disappears when it stops; its tasks have a field ``state``, a text beside the bar.

    Args:
        wanted: False disables the bar. It is also disabled if standard error is not a terminal.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        disable=not (wanted and sys.stderr.isatty()),
        transient=True,
        console=Console(stderr=True),
    )
