"""Results computed from runs: ratios within a turn, latencies from a message's due time, guarantees kept or broken."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.contenders import BY_NAME, OURS
from benchmarks.harness.broker import Appended, BenchError
from benchmarks.throughput.harness import BenchOptions, Results, as_json
from benchmarks.throughput.latency import latency_of
from benchmarks.throughput.tables import guarantees, latency_table, throughput_table
from benchmarks.throughput.throughput import Drained


def _drained(contender: str, windows_per_s: float, windows_per_message: int = 1) -> Drained:
    return Drained(
        contender=contender,
        windows_per_message=windows_per_message,
        publish="events",
        windows=1000,
        outputs=10,
        windows_per_s=windows_per_s,
        records_per_s=windows_per_s / windows_per_message,
        by_commits_per_s=windows_per_s,
        cpu_s_per_million=20.0,
        broker_cpu_s_per_million=5.0,
        peak_rss_mb=500.0,
        cold_start_s=5.0,
    )


def test_a_ratio_compares_runs_of_the_same_turn() -> None:
    # The machine was half as fast in the second turn, so medians of rates would mean nothing.
    results = Results(
        [_drained(OURS, 100), _drained("aiokafka_bare", 80), _drained("aiokafka_bare", 40), _drained(OURS, 50)]
    )
    assert results.ratio("aiokafka_bare", 1, "events") == 1.25
    assert results.ratio("quix_engine", 1, "events") is None


def test_latency_counts_from_the_due_time_so_that_a_late_sender_hides_nothing() -> None:
    # Two partitions of ten messages, due every 10 ms; the sender was 5 ms late, and the answer came 7 ms after that.
    due_ns = 1_000_000_000 + np.arange(20, dtype=np.int64).reshape(2, 10, order="F") * 10_000_000
    came_ms = [row // 1_000_000 + 5 for row in due_ns]
    # Before them one message each that started the contender: seconds late, and not counted.
    due_ns = np.pad(due_ns, ((0, 0), (1, 0)))
    came_ms = [np.insert(row, 0, 100) for row in came_ms]
    places = np.array([(partition, offset) for partition in range(2) for offset in range(11)])
    answered_ms = [np.insert(row[1:] + 7, 0, 9_000) for row in came_ms]
    out = Appended(places[:, 0], places[:, 1], np.concatenate(answered_ms))
    found = latency_of(BY_NAME[OURS], "50%", 200.0, 1, due_ns, came_ms, out, 0.1)
    assert found.appended_ms == (7.0, 7.0, 7.0)
    assert found.due_ms == (12.0, 12.0, 12.0)
    assert found.late_ms == 5.0
    assert found.outputs == 16, "the first fifth is not counted"


def test_no_output_is_an_error_and_no_figure() -> None:
    due_ns = np.arange(1, 11, dtype=np.int64).reshape(1, 10)
    nothing = Appended(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64))
    with pytest.raises(BenchError, match="published nothing"):
        latency_of(BY_NAME[OURS], "50%", 200.0, 1, due_ns, [due_ns[0]], nothing, 0.1)


def test_guarantees_are_reported_as_kept_or_broken() -> None:
    results = Results(
        [_drained(OURS, 95), _drained("aiokafka_bare", 100), _drained(OURS, 400, 64)], engine_per_s=[1000]
    )
    kept, missed = guarantees(results)
    assert kept.startswith("kept   Faultline ÷ aiokafka")
    assert missed.startswith("missed Faultline ÷ engine alone")


def test_results_are_json_with_machine_and_versions() -> None:
    results = Results([_drained(OURS, 95)])
    document = json.loads(as_json(BenchOptions(only=("aiokafka_bare",)), results))
    assert document["machine"]["cores"] >= 1
    assert document["versions"]["aiokafka"]
    assert document["throughput"][0]["windows_per_s"] == 95
    assert throughput_table(results).row_count == 1
    assert latency_table(results).row_count == 0


def test_a_contender_that_is_not_there_is_named() -> None:
    with pytest.raises(BenchError, match="unknown contender kafka_streams: choose from faultline_worker"):
        BenchOptions(only=("kafka_streams",))
