"""Stock Faust in batches: ``take_events``, one inference call per batch, acknowledged outputs.

``take_events`` keeps the events, since an output names the record that it answers. Faust acknowledges a batch when the
loop's body ends. The body ends after the broker has acknowledged the outputs, by the second ``await``; without that a
failed send would only be logged. If the body raises, Faust acknowledges the batch, too. This is the behaviour of stock
Faust, and the table of contenders states it.

``within`` does not count from the first event. The stream checks its buffer after each such interval, and in between
it delivers only full batches. The value therefore suits the measurement: 500 ms for throughput (5 ms gave half of it,
50 ms two thirds), and the deadline of all contenders for latency.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.contenders.faust_app import new_app, run_app
from benchmarks.contenders.settings import ContenderSettings
from benchmarks.contenders.task import Output


def run_take(settings: ContenderSettings, answer: Callable[[Sequence[Any]], list[Output]]) -> None:
    """Consume until SIGTERM.

    Args:
        settings: settings of the run.
        answer: converts messages to outputs; called on a thread, so that heartbeats and fetches continue.
    """
    app = new_app(settings)
    windows = app.topic(settings.input_topic, key_serializer="raw", value_serializer="raw")
    results = app.topic(settings.output_topic, key_serializer="raw", value_serializer="raw")
    within_s = settings.batch_deadline_ms / 1000

    @app.agent(windows)  # type: ignore[untyped-decorator]
    async def classify(stream: Any) -> None:
        async for events in stream.take_events(settings.batch_records, within=within_s):
            outputs = await asyncio.to_thread(answer, [event.message for event in events])
            sent = [
                await results.send(key=output.key, value=output.value, headers=list(output.headers))
                for output in outputs
            ]
            await asyncio.gather(*sent)

    run_app(app)
