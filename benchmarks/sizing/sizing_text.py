"""Write the sizing tables as Markdown, and insert them into a document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.sizing.sizing import Assumptions, Limit, Plan, limits, plan
from benchmarks.sizing.unit_costs import SizingError, UnitCosts

LINES = (100, 1_000, 10_000, 100_000, 1_000_000)
RATES = (200.0, 50.0, 1.0)
"""Windows per second of a line: one per quarter cycle at 50 Hz, one per cycle, one per second."""
BEGIN, END = "<!-- sizing: begin -->", "<!-- sizing: end -->"


def sizing_markdown(costs: UnitCosts, given: Assumptions, lines: Sequence[int], rates: Sequence[float]) -> str:
    """Return the unit costs, the tables of every rate, and the assumptions as Markdown."""
    parts = [_costs(costs)]
    for rate in rates:
        plans = [plan(count, rate, costs, given) for count in lines]
        parts += [f"### {rate:g} windows/s per line", _needs(plans, given), _limits(limits(rate, costs, given))]
    return "\n\n".join([*parts, "### Assumptions", _assumptions(given)])


def replace_in(path: Path, markdown: str) -> None:
    """Replace the text between the two marks of a document by the tables.

    Raises:
        SizingError: the document has no marks.
    """
    text = path.read_text("utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SizingError(f"{path} has no lines {BEGIN} and {END}: add them where the tables belong")
    path.write_text(f"{before}{BEGIN}\n\n{markdown}\n\n{END}{after}", "utf-8")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---:"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _needs(plans: Sequence[Plan], given: Assumptions) -> str:
    head = (
        *("lines", "windows/s", "messages/s", "into Kafka", "partitions", f"workers of {given.worker_cores} cores"),
        *("brokers", "sent by one broker", "disk", "GPU use", "worker cores with GPUs", "largest cost"),
    )
    rows = (
        (
            f"{one.lines:,}",
            _short(one.windows_per_s).strip(),
            _short(one.messages_per_s).strip(),
            f"{_short(one.bytes_per_s)}B/s",
            f"{one.partitions:,}",
            f"{one.workers:,}",
            f"{one.brokers:,}" + (f" in {one.clusters} clusters" if one.clusters > 1 else ""),
            f"{_short(one.broker_bytes_per_s)}B/s",
            f"{_short(one.disk_bytes)}B",
            f"{one.gpu_share:,.2f}" + (f" ({one.gpus} GPUs)" if one.gpus > 1 else ""),
            f"{one.cores_with_gpus:,.1f}",
            one.cost_driver,
        )
        for one in plans
    )
    return _table(head, rows)


def _limits(found: Sequence[Limit]) -> str:
    rows = ((f"{one.lines:,}", one.resource, one.remedy) for one in found)
    return _table(("lines", "resource that is exhausted", "remedy"), rows)


def _costs(costs: UnitCosts) -> str:
    rows = (
        ("worker, per message", f"{costs.worker_cpu_s_per_message * 1e6:.1f} µs of CPU time"),
        ("worker, per window", f"{costs.worker_cpu_s_per_window * 1e6:.1f} µs of CPU time"),
        ("engine's share of it", f"{costs.engine_cpu_s_per_window * 1e6:.1f} µs of CPU time"),
        ("broker, per message", f"{costs.broker_cpu_s_per_message * 1e6:.1f} µs of CPU time"),
        ("broker, per window", f"{costs.broker_cpu_s_per_window * 1e6:.1f} µs of CPU time"),
        ("messages/s of one worker, with one window each", f"{costs.messages_per_s_per_worker:,.0f}"),
        ("memory of one worker", f"{costs.worker_mb:,.0f} MB"),
    )
    measured = f"Measured on {costs.measured_on}, load average before {costs.load_before:g}"
    hint = " (other programs were running: the costs are rather too high than too low)" if costs.load_before > 1 else ""
    return f"{measured}{hint}:\n\n{_table(('cost', 'measured'), rows)}"


def _assumptions(given: Assumptions) -> str:
    rows = ((name, f"{value:g}") for name, value in given.model_dump().items())
    return _table(("assumption", "value"), rows)


def _short(number: float) -> str:
    for unit, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g} "
