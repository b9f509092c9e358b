"""Stock Faust in batches: ``take_events``, one inference call per batch, the batch's outputs confirmed.

``take`` in its form that keeps the events, since an output names the record it answers. Faust acknowledges a batch
when its body is left. The body leaves after the broker has confirmed the outputs: the second ``await``, without which
a failed send is only logged. It leaves also by an exception, after which the batch is acknowledged all the same; that
is stock Faust, and stands in the table.

``within`` is not counted from the first event: the stream looks at its buffer whenever so much time has passed, and
in between hands out nothing but a full one. So it is the time that suits what is measured: 500 ms where throughput is
(5 ms gave half of it, 50 ms two thirds), and the deadline of all others where latency is.
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
        settings: of the run.
        answer: messages → outputs; called on a thread, so that heartbeats and fetches go on.
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
