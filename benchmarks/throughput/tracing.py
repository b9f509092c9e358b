"""Measure the CPU time per message that tracing costs: with tracing off, on, and on with traced messages.

    python -m benchmarks.throughput.tracing --rounds 12

The pipeline is the real one, between an engine and a broker that respond immediately, so that nothing hides the cost. A
message has four windows, for which a real engine takes about 40 µs. CPU time is measured, since other processes do not
affect it. All modes run in turns within one process, in alternating order. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import time
from typing import Any

import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from faultline.testing import FakeClassifier
from model.spec import load_spec
from stream.telemetry.tracing import Tracing, trace_headers
from tests.stream.doubles import PromptBroker, marked_record, until
from tests.stream.telemetry.contexts import span_context
from tests.stream.worker.test_pipeline import rig

SPEC = load_spec("line")
LINES, BATCHES, PER_BATCH = 64, 40, 512


class Nowhere(SpanExporter):
    """An exporter that discards every span."""

    def export(self, spans: Any) -> SpanExportResult:
        """Discard the spans."""
        return SpanExportResult.SUCCESS


def tracing(ratio: float) -> Tracing:
    """Return tracing with a sample ratio, whose spans are discarded."""
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    return Tracing(provider, ratio)


def load(sampled: float) -> list[list[Any]]:
    """Return batches of records; the sender requests a trace for the share ``sampled``. Every eighth line is faulty."""
    batches, number = [], 0
    every = round(1 / sampled) if sampled else 0
    for _ in range(BATCHES):
        records = []
        for _ in range(PER_BATCH):
            line, sequence = number % LINES, 4 * (number // LINES)
            fault = int(line % 8 == 0 and sequence % 64 < 16)
            record = marked_record(f"line-{line}", [fault] * 4, SPEC, sequence=sequence, offset=number)
            if every and number % every == 0:
                context = span_context(f"{number + 1:032x}", f"{number + 1:016x}")
                record = type(record)(**{**vars(record), "headers": (*record.headers, *trace_headers(context))})
            records.append(record)
            number += 1
        batches.append(records)
    return batches


WAYS: dict[str, tuple[float | None, float]] = {
    "off": (None, 0.0),
    "on, no trace requested": (0.01, 0.0),
    "on, every hundredth message": (0.01, 0.01),
    "on, every message": (0.01, 1.0),
}
"""Sample ratio (None: off), and the share of messages for which the sender requests a trace."""


async def cost(batches: list[list[Any]], made_tracing: Tracing | None) -> float:
    """Return the CPU time per message in the pipeline, in µs."""
    options: dict[str, Any] = {} if made_tracing is None else {"tracing": made_tracing}
    async with rig(Silent(), FakeClassifier(SPEC), batch_windows=2048, **options) as made:
        began = time.process_time()
        for records in batches:
            await made.submit(*records)
        await until(lambda: len(made.acknowledged) == len(batches), 120.0)
        return (time.process_time() - began) / (BATCHES * PER_BATCH) * 1e6


class Silent(PromptBroker):
    """A broker that confirms at once and keeps nothing: keeping ten thousand answers would dominate the measurement."""

    def confirmed(self) -> list[Any]:
        """Return nothing, since nothing is kept."""
        return []


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12, help="runs of every mode")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    loads = {part: load(part) for _, part in WAYS.values()}
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(given.rounds):
        for way in list(WAYS)[:: 1 if number % 2 else -1]:
            ratio, part = WAYS[way]
            made = None if ratio is None else tracing(ratio)
            found[way].append(asyncio.run(cost(loads[part], made)))
            if made is not None:
                made.close()
    costs = {way: round(statistics.median(values), 2) for way, values in found.items()}
    more = {
        way: round(statistics.median(one - off for one, off in zip(values, found["off"], strict=True)), 2)
        for way, values in found.items()
    }
    for way in WAYS:
        print(f"{way:28} {costs[way]:>6.2f} µs per message   {more[way]:+.2f} against off")
    print(json.dumps({"us_per_message": costs, "more_than_off": more, "rounds": given.rounds}))


if __name__ == "__main__":
    main()
