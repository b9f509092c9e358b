"""Stock Faust ``take`` with one ``model.predict`` per batch: see ``faust_take``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from faultline.bench.contenders.faust_take import run_take
from faultline.bench.contenders.keras_predict import KerasPredict
from faultline.bench.contenders.settings import settings_of_process
from faultline.bench.contenders.task import Output, Task


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
