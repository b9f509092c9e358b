"""Print JSON and tables on standard output, and progress on standard error, for all commands."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from rich.table import Table

WIDTH_WITHOUT_TERMINAL = 150
"""Width of a table in characters if standard output is not a terminal; it is large, so that no table is cut off."""
BAR_EVERY_S = 0.2
"""Interval in seconds at which a progress bar is redrawn."""
LINE_EVERY_S = 5.0
"""Interval in seconds between lines of progress if standard error is not a terminal."""


def print_json(body: Any, *, indent: int | None = None, compact: bool = False) -> None:
    r"""Print one JSON value on standard output, always in UTF-8.

    A path's bytes that are not UTF-8 become escapes such as ``\udcff``. ``compact`` leaves out the spaces.
    """
    text = json.dumps(body, ensure_ascii=False, indent=indent, separators=(",", ":") if compact else None)
    # Python's escape of a lone surrogate is also valid in JSON.
    typer.echo(text.encode("utf-8", "backslashreplace"))


def print_table(table: Table, least_width: int = 0) -> None:
    """Print a table on standard output.

    Args:
        table: the table.
        least_width: smallest width, characters; a narrower terminal scrolls or wraps the table.
    """
    from rich.console import Console

    width = Console().width if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL
    Console(width=max(width, least_width)).print(table)


class ProgressBar:
    """Bar with a text on standard error, hidden if that is not a terminal. Create it with ``progress_bar``."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    @property
    def hidden(self) -> bool:
        """Return True if nothing is shown."""
        return self._progress.disable

    def update(
        self,
        text: str | None = None,
        *,
        advance: float | None = None,
        completed: float | None = None,
        total: float | None = None,
    ) -> None:
        """Change the text, and the progress: by ``advance``, or to ``completed`` of ``total``."""
        self._progress.update(self._task, description=text, advance=advance, completed=completed, total=total)


@contextmanager
def progress_bar(text: str = "", total: float | None = None, *, quiet: bool = False) -> Iterator[ProgressBar]:
    """Show a progress bar while the block runs.

    Args:
        text: text after the bar.
        total: value of complete progress; None if it is not known beforehand.
        quiet: True shows nothing, as if standard error were not a terminal.

    Yields:
        The bar, which the block updates.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        yield ProgressBar(progress, progress.add_task(text, total=total))


@asynccontextmanager
async def show_progress(
    text: Callable[[], str], completed: Callable[[], float], total: float | None = None
) -> AsyncIterator[None]:
    """Show progress on standard error while the block runs: a bar on a terminal, otherwise a line every 5 s.

    Args:
        text: returns the current text.
        completed: returns the current progress.
        total: value of complete progress; None if it is not known beforehand.

    Yields:
        Nothing.
    """
    task = asyncio.create_task(_show(text, completed, total))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _show(text: Callable[[], str], completed: Callable[[], float], total: float | None) -> None:
    with progress_bar(total=total) as bar:
        while True:
            await asyncio.sleep(LINE_EVERY_S if bar.hidden else BAR_EVERY_S)
            if bar.hidden:
                typer.echo(text(), err=True)
            else:
                bar.update(text(), completed=completed())
