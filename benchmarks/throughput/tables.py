"""Format results as tables for a terminal."""

from __future__ import annotations

import statistics

from rich.table import Table

from benchmarks.contenders import BY_NAME, OURS
from benchmarks.throughput.harness import Results

BARE = "aiokafka_bare"
AT_LEAST = (
    # contender, windows per message, lowest ratio that is guaranteed
    ("faust_take_engine", 1, 8.0),
    ("quix_engine", 1, 3.0),
    (BARE, 1, 0.9),
)
ENGINE_SHARE, ENGINE_SHARE_AT = 0.5, 64
P99_MS = 20.0


def throughput_table(results: Results) -> Table:
    """Return a table with one row per contender and kind of run: medians, and Faultline's speed-up in equal turns."""
    table = Table(title="Throughput: a backlog processed from beginning to end", title_justify="left")
    table.add_column("contender")
    for name in (
        "windows per message",
        "publishes",
        "windows/s",
        "by commits",
        "Faultline faster by",
        "CPU s per million",
        "peak MB",
        "cold start s",
    ):
        table.add_column(name, justify="left" if name == "publishes" else "right")
    keys = dict.fromkeys((one.windows_per_message, one.publish, one.contender) for one in results.drained)
    section = None
    for per_message, publish, name in sorted(keys, key=lambda key: (key[0], key[1] != "events")):
        if section not in (None, (per_message, publish)):
            table.add_section()
        section = per_message, publish
        runs = results.runs(name, per_message, publish)
        ratio = results.ratio(name, per_message, publish)
        table.add_row(
            BY_NAME[name].title,
            str(per_message),
            publish,
            f"{statistics.median(one.windows_per_s for one in runs):,.0f}",
            f"{statistics.median(one.by_commits_per_s for one in runs):,.0f}",
            "" if name == OURS or ratio is None else f"{ratio:.2f} times",
            f"{statistics.median(one.cpu_s_per_million for one in runs):,.1f}",
            f"{max(one.peak_rss_mb for one in runs):,.0f}",
            f"{statistics.median(one.cold_start_s for one in runs):.1f}",
        )
    return table


def latency_table(results: Results) -> Table:
    """Return a table with one row per contender and rate."""
    table = Table(title="Latency in ms, from appending the window to appending the output", title_justify="left")
    for name in ("contender", "load", "messages/s", "p50", "p99", "p99.9", "due → output p99", "outputs"):
        table.add_column(name, justify="left" if name == "contender" else "right")
    for one in results.latencies:
        table.add_row(
            BY_NAME[one.contender].title,
            one.load,
            f"{one.messages_per_s:,.0f}",
            *(f"{value:,.1f}" for value in one.appended_ms),
            f"{one.due_ms[1]:,.1f}",
            f"{one.outputs:,}",
            end_section=one.load == "same",
        )
    return table


def guarantees(results: Results) -> list[str]:
    """Return one line per guaranteed figure that these runs measured: kept or missed, value and limit."""
    lines = []
    for name, per_message, least in AT_LEAST:
        ratio = results.ratio(name, per_message, "events")
        if ratio is not None:
            lines.append(_line(f"Faultline ÷ {BY_NAME[name].title}, {per_message} per message", ratio, least))
    rate = results.per_s(OURS, ENGINE_SHARE_AT, "events")
    if rate is not None and results.engine_per_s:
        share = rate / statistics.median(results.engine_per_s)
        lines.append(_line(f"Faultline ÷ engine alone, {ENGINE_SHARE_AT} per message", share, ENGINE_SHARE))
    lines += [
        _line("Faultline's p99 at 50 % load, ms", one.appended_ms[1], P99_MS, most=True)
        for one in results.latencies
        if one.contender == OURS and one.load == "50%" and one.windows_per_message == 1
    ]
    same = {one.contender: one.appended_ms[1] for one in results.latencies if one.load == "same"}
    if OURS in same and len(same) > 1:
        best = min(value for name, value in same.items() if name != OURS)
        lines.append(
            _line("Faultline's p99 ÷ the best other's, same rate", same[OURS] / max(best, 0.5), 1.0, most=True)
        )
    return lines


def _line(what: str, value: float, limit: float, *, most: bool = False) -> str:
    kept = value <= limit if most else value >= limit
    return f"{'kept  ' if kept else 'missed'} {what}: {value:.2f} ({'at most' if most else 'at least'} {limit:g})"
