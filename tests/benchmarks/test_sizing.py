"""Sizing: unit costs from a benchmark's JSON, and the resources that follow from them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.kafka.jars import REPOSITORY
from benchmarks.sizing.sizing import RECORD_BYTES, Assumptions, limits, plan
from benchmarks.sizing.sizing_text import BEGIN, END, LINES, RATES, replace_in, sizing_markdown
from benchmarks.sizing.unit_costs import SizingError, UnitCosts
from model.spec import load_spec
from stream.contract import HEADER_CONTENT_TYPE
from stream.settings import Settings
from stream.windowing import MSGPACK_HEADERS, encode_windows

COSTS = UnitCosts(
    measured_on="a machine",
    load_before=0.1,
    worker_cpu_s_per_message=10e-6,
    worker_cpu_s_per_window=20e-6,
    engine_cpu_s_per_window=16e-6,
    broker_cpu_s_per_message=2e-6,
    broker_cpu_s_per_window=1e-6,
    messages_per_s_per_worker=20_000,
    worker_mb=900,
)


def bench_document(**changes: object) -> dict[str, object]:
    """Return a benchmark's document for a worker that takes 10 µs per message and 20 µs per window."""

    def run(per_message: int, contender: str = "faultline_worker", publish: str = "events") -> dict[str, object]:
        return {
            "contender": contender,
            "publish": publish,
            "windows_per_message": per_message,
            "cpu_s_per_million": 10 / per_message + 20,
            "broker_cpu_s_per_million": 2 / per_message + 1,
            "records_per_s": 20_000 / per_message,
            "peak_rss_mb": 900.0,
        }

    throughput = [*(run(n) for n in (1, 16, 64, 64)), run(1, "aiokafka_bare"), run(1, publish="answers")]
    document: dict[str, object] = {
        "at": "2026-01-02T03:04:05+00:00",
        "machine": {"cores": 2, "processor": "a processor", "load_before": [0.1, 0.1, 0.1]},
        "engine_alone_cpu_s_per_million": [16.5, 15.5],
        "throughput": throughput,
    }
    return document | changes


def test_costs_per_message_and_per_window_come_from_a_line_through_the_runs() -> None:
    costs = UnitCosts.from_bench(bench_document())
    assert costs.worker_cpu_s_per_message == pytest.approx(10e-6)
    assert costs.worker_cpu_s_per_window == pytest.approx(20e-6)
    assert costs.broker_cpu_s_per_message == pytest.approx(2e-6)
    assert costs.engine_cpu_s_per_window == pytest.approx(16e-6)
    assert costs.messages_per_s_per_worker == 20_000
    assert costs.measured_on == "2 cores of a processor, 2026-01-02"


def test_unit_costs_alone_are_read_as_they_were_written() -> None:
    assert UnitCosts.from_bench(json.loads(COSTS.model_dump_json())) == COSTS


@pytest.mark.parametrize("document", [bench_document(throughput=[]), {}, {"throughput": [{}]}, {"measured_on": "x"}])
def test_a_json_without_unit_costs_is_refused_with_the_command_that_makes_them(document: dict[str, object]) -> None:
    with pytest.raises(SizingError, match="python -m benchmarks --only faultline_worker"):
        UnitCosts.from_bench(document)


def test_a_thousand_lines_at_full_rate_by_hand() -> None:
    found = plan(1000, 200.0, COSTS, Assumptions())
    assert found.windows_per_s == 200_000
    assert found.messages_per_s == 3125
    assert found.bytes_per_s == 200_000 * 768 + 3125 * RECORD_BYTES
    # 4.03 cores of work on workers of four cores that may be half busy.
    assert found.workers == 3
    # 154 MB/s at 10 MB/s each.
    assert found.partitions == 16
    assert found.disk_bytes == pytest.approx(found.bytes_per_s * 3 * 86_400)
    assert found.brokers == 8
    assert found.clusters == 1
    assert found.gpu_share == pytest.approx(0.2)
    assert found.cores_with_gpus == pytest.approx((4.03125 - 3.2) / 0.5)


def test_more_lines_never_need_less() -> None:
    for rate in RATES:
        plans = [plan(lines, rate, COSTS, Assumptions()) for lines in LINES]
        for small, large in itertools.pairwise(plans):
            for name in ("workers", "partitions", "brokers", "clusters", "gpus", "disk_bytes", "cores_with_gpus"):
                assert getattr(small, name) <= getattr(large, name), (name, large.lines)


@pytest.mark.parametrize("lines", LINES)
@pytest.mark.parametrize("rate", RATES)
def test_a_plan_holds_what_it_is_for(lines: int, rate: float) -> None:
    found = plan(lines, rate, COSTS, Assumptions())
    provided = {
        "workers": found.workers,
        "partitions": found.partitions,
        "brokers": found.brokers,
        "clusters": found.clusters,
    }
    assert all(one.units <= provided[one.of] + 1e-6 for one in found.demands)
    assert found.workers <= found.partitions


def test_one_window_per_message_fills_the_event_loop_before_the_cores() -> None:
    alone = plan(200, 200.0, COSTS, Assumptions(windows_per_message=1, worker_cores=8, partition_bytes_per_s=1e9))
    grouped = plan(200, 200.0, COSTS, Assumptions(worker_cores=8, partition_bytes_per_s=1e9))
    assert alone.workers == 4
    assert grouped.workers == 1


def test_what_is_full_first_depends_on_what_is_scarce() -> None:
    scarce = {
        "brokers' disks": Assumptions(broker_disk_bytes=1e9),
        "brokers' network": Assumptions(broker_network_bytes_per_s=1e5),
        "workers' cores": Assumptions(worker_cores=1, broker_disk_bytes=1e18),
        "one GPU": Assumptions(gpu_windows_per_s=1e3),
        "lines of a partition": Assumptions(lines_per_partition=1),
    }
    assert {name: limits(200.0, COSTS, given)[0].resource for name, given in scarce.items()} == {
        name: name for name in scarce
    }


@pytest.mark.parametrize("rate", RATES)
def test_beyond_a_limit_there_is_more_of_what_was_full_and_before_it_there_is_not(rate: float) -> None:
    given = Assumptions()
    workers = next(one for one in limits(rate, COSTS, given) if one.resource == "workers' cores")
    assert plan(workers.lines, rate, COSTS, given).workers == 1
    assert plan(workers.lines + 2, rate, COSTS, given).workers == 2
    disks = next(one for one in limits(rate, COSTS, given) if one.resource == "brokers' disks")
    assert plan(disks.lines, rate, COSTS, given).brokers == 3
    assert plan(disks.lines + 2, rate, COSTS, given).brokers == 4


def test_assumptions_say_what_the_code_has() -> None:
    spec, given = load_spec("line"), Assumptions()
    assert given.window_bytes == np.prod(spec.window_shape) * 4
    assert given.partitions == Settings().partitions
    assert 2 * given.lines_per_partition == Settings().max_lines_per_partition
    windows = np.zeros((64, *spec.window_shape), np.float32)
    value = encode_windows(windows, spec, sequence=10**6, start_ns=10**18, rate_hz=spec.rate_hz)
    headers = sum(len(name) + len(text) for name, text in MSGPACK_HEADERS)
    assert HEADER_CONTENT_TYPE in dict(MSGPACK_HEADERS)
    beside = len(value) - windows.nbytes + headers + len(b"line-00-001")
    assert beside <= RECORD_BYTES <= beside + 40


def test_the_tables_of_the_document_follow_from_the_unit_costs_beside_it() -> None:
    document = (REPOSITORY / "docs" / "sizing.md").read_text("utf-8")
    costs = UnitCosts.from_bench(json.loads((REPOSITORY / "docs" / "unit-costs.json").read_text("utf-8")))
    between = document.split(BEGIN)[1].split(END)[0].strip()
    assert between == sizing_markdown(costs, Assumptions(), LINES, RATES)


def test_the_command_puts_tables_into_a_document_and_keeps_the_rest(tmp_path: Path) -> None:
    document, costs = tmp_path / "sizing.md", tmp_path / "bench.json"
    document.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    costs.write_text(json.dumps(bench_document()))
    given = ["--unit-costs", str(costs), "--into", str(document), "--costs-out", str(tmp_path / "costs.json")]
    result = CliRunner().invoke(app, ["sizing", *given, "--lines", "50", "--rates", "200"])
    assert result.exit_code == 0, result.output
    text = document.read_text()
    assert text.startswith(f"above\n{BEGIN}")
    assert text.endswith(f"{END}\nbelow\n")
    assert "| 50 |" in text
    assert "old" not in text
    assert UnitCosts.from_bench(json.loads((tmp_path / "costs.json").read_text())).worker_mb == 900


def test_a_document_without_marks_is_left_alone(tmp_path: Path) -> None:
    document = tmp_path / "sizing.md"
    document.write_text("no marks")
    with pytest.raises(SizingError, match="has no lines"):
        replace_in(document, "tables")
    assert document.read_text() == "no marks"
