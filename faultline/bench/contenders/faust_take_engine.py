"""Stock Faust ``take`` with our compiled engine: see ``faust_take``."""

from __future__ import annotations

from faultline.bench.contenders.faust_take import run_take
from faultline.bench.contenders.settings import settings_of_process
from faultline.bench.contenders.task import Task


def main() -> None:
    """Run the contender."""
    settings = settings_of_process()
    run_take(settings, Task(settings).with_engine().answer)


if __name__ == "__main__":
    main()
