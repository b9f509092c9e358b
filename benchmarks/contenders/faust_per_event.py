"""Stock Faust as in tutorials: JSON records, one event at a time, one ``model.predict`` per event.

It is listed only for comparison. Tutorials await ``send`` once, which returns when the record is buffered; Faust
flushes its producer before it commits.
"""

from __future__ import annotations

from typing import Any

import faust
import numpy as np

from benchmarks.contenders.faust_app import new_app, run_app
from benchmarks.contenders.settings import ContenderSettings, settings_of_process
from benchmarks.contenders.task import Output, Task
from stream.detection.decode import DecodedBatch, LineWindows


class Window(faust.Record, serializer="json"):  # type: ignore[misc, call-arg]
    """A window message (``contract.WindowMessage``) as a Faust record."""

    spec: str
    sequence: int
    start_ns: int
    rate_hz: float
    count: int
    data: list[Any]


def outputs_of(event: Any, task: Task) -> list[Output]:
    """Return the outputs for one event."""
    body = event.value
    windows = np.asarray(body.data, np.float32)
    entry = LineWindows(
        event.message, event.key.decode(), body.sequence, body.start_ns, body.rate_hz, 0, body.count, None
    )
    decoded = DecodedBatch(windows, [entry], [])
    return task.outputs(decoded, task.classify(decoded))


def run(settings: ContenderSettings) -> None:
    """Consume until SIGTERM."""
    task = Task(settings).with_keras()
    app = new_app(settings)
    windows = app.topic(settings.input_topic, key_serializer="raw", value_type=Window)
    results = app.topic(settings.output_topic, key_serializer="raw", value_serializer="raw")

    @app.agent(windows)  # type: ignore[untyped-decorator]
    async def classify(stream: Any) -> None:
        async for event in stream.events():
            for output in outputs_of(event, task):
                await results.send(key=output.key, value=output.value, headers=list(output.headers))

    run_app(app)


def main() -> None:
    """Run the contender."""
    run(settings_of_process())


if __name__ == "__main__":
    main()
