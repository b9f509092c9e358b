"""Stock Faust ``take`` with one ``model.predict`` per batch: see ``faust_take``."""

from __future__ import annotations

from benchmarks.contenders.faust_take import run_take
from benchmarks.contenders.settings import settings_of_process
from benchmarks.contenders.task import Task


def main() -> None:
    """Run the contender."""
    settings = settings_of_process()
    run_take(settings, Task(settings).with_keras().answer)


if __name__ == "__main__":
    main()
