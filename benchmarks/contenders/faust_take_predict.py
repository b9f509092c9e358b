"""Stock Faust ``take`` with one ``model.predict`` per batch: see ``faust_take``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.contenders.faust_take import run_take
from benchmarks.contenders.keras_predict import KerasPredict
from benchmarks.contenders.settings import settings_of_process
from benchmarks.contenders.task import Output, Task


def main() -> None:
    """Run the contender."""
    settings = settings_of_process()
    task, predict = Task(settings), KerasPredict(settings)

    def answer(messages: Sequence[Any]) -> list[Output]:
        decoded = task.decode(messages)
        return task.outputs(decoded, predict(decoded.windows))

    run_take(settings, answer)


if __name__ == "__main__":
    main()
