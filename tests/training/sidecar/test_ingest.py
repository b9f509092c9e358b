"""Records read from the topics reach the store; records that do not belong to the spec do not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition

from domains.powerline.data.scenario import scenario
from domains.powerline.events import PowerLineFaultEvent
from model.spec import load_spec
from stream.contract import HEADER_ORIGIN, SIMULATED, SourceRecord, WindowLabel
from stream.windowing import SIMULATED_HEADERS, window_messages
from tests.stream.doubles import RATE_HZ, START_NS, hop_ns, marked_record, record
from tests.training.sidecar.sidecar_samples import settings
from training.errors import StoreError
from training.sidecar.ingest import Ingester
from training.sidecar.metrics import SidecarMetrics
from training.sidecar.store.store import LabelledStore
from training.sidecar.store.tiers import DAY_S, StoreLimits

SPEC = load_spec("line")
HOP_NS = hop_ns(SPEC)
SIMULATED_WINDOWS = (5 * 1600 - SPEC.samples) // SPEC.hop + 1
"""Number of windows in five seconds of one line."""


async def nobody(found: str) -> None:
    raise AssertionError(found)


class Bench:
    def __init__(self, path: Path, limits: StoreLimits | None = None, **given: object) -> None:
        self.settings = settings(path, **given)
        self.store = LabelledStore(path / "store", limits or StoreLimits.from_settings(self.settings))
        self.metrics = SidecarMetrics()
        self.ingester = Ingester(self.settings, SPEC, self.store, self.metrics, None, nobody)

    def take(self, **records: list[Any]) -> None:
        """Return records by the setting that names their topic."""
        topics = {"windows": self.settings.topic_windows, "labels": self.settings.topic_labels, "faults": "faults.lg"}
        self.ingester.take({TopicPartition(topics[name], 0): found for name, found in records.items()})

    def tiers(self) -> dict[str, int]:
        summary = self.store.summary()
        return summary[0].windows if summary else {}

    def counted(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def operator_label(first: int, last: int, fault_class: str = "AG", spec: str = "line") -> Any:
    label = WindowLabel(
        label_id=f"{first}-{last}-{fault_class}",
        line="feeder",
        spec=spec,
        fault_class=fault_class,
        first_ns=START_NS + first * HOP_NS,
        last_ns=START_NS + last * HOP_NS,
        by="test",
        at=datetime.now(UTC),
    )
    return record(b"feeder", label.model_dump_json().encode())


def event(first: int, last: int) -> Any:
    """Return the message of a fault event that lasts from one window's start to another's."""
    begin = START_NS + first * HOP_NS
    event = PowerLineFaultEvent(
        event_id="e",
        episode_id="e",
        line="feeder",
        state="clear",
        fault_class="AG",
        fault_type="lg",
        phases="A",
        ground=True,
        ground_probability=1.0,
        confidence=1.0,
        probabilities={"AG": 1.0},
        inception_ns=begin,
        detection_ns=begin + HOP_NS,
        duration_s=(last - first) * SPEC.hop / RATE_HZ,
        duration_cycles=1.0,
        spec="line",
        model_id="m",
        sequence=first,
        source=SourceRecord(topic="sensor-windows", partition=0, offset=0),
    )
    return record(b"feeder", event.model_dump_json().encode())


def test_windows_without_a_label_wait_and_get_a_later_label(bench: Bench) -> None:
    bench.take(windows=[marked_record("feeder", [0] * 20, SPEC)])
    assert bench.tiers() == {"labelled": 0, "near_event": 0, "recent": 20}
    bench.take(labels=[operator_label(4, 7)])
    assert bench.tiers()["labelled"] == 4
    assert bench.store.summary()[0].classes["AG"] == 4
    assert bench.counted("faultline_trainer_windows_total", labelled="false") == 20
    assert bench.counted("faultline_trainer_labels_total") == 1


def test_windows_of_an_event_are_kept_as_long_as_events_are(bench: Bench) -> None:
    bench.take(windows=[marked_record("feeder", [0] * 40, SPEC)], faults=[event(20, 24)])
    assert 4 <= bench.tiers()["near_event"] < 20


def test_within_one_fetch_labels_find_windows_that_were_sent_before_them(bench: Bench) -> None:
    bench.take(labels=[operator_label(0, 2)], windows=[marked_record("feeder", [0] * 6, SPEC)])
    assert bench.tiers()["labelled"] == 3


def simulated() -> list[Any]:
    """Windows of a line of the demo: every message has the mark and its windows' true classes."""
    record_of = scenario(1, 5, seed=3)
    messages = window_messages(
        "line-0000", record_of.samples[0], SPEC, rate_hz=RATE_HZ, start_ns=START_NS, labels=record_of.labels[0]
    )
    return [record(m.line.encode(), m.value, offset=n, headers=SIMULATED_HEADERS) for n, m in enumerate(messages)]


def test_simulated_windows_are_not_stored_although_they_say_their_classes(bench: Bench) -> None:
    bench.take(windows=[*simulated(), marked_record("feeder", [0] * 3, SPEC)])
    assert bench.tiers() == {"labelled": 0, "near_event": 0, "recent": 3}
    assert bench.counted("faultline_trainer_simulated_windows_total") == SIMULATED_WINDOWS
    assert bench.counted("faultline_trainer_windows_total", labelled="true") == 0


def test_the_mark_alone_is_enough_since_a_content_type_is_optional(bench: Bench) -> None:
    unlabelled = marked_record("feeder", [0] * 3, SPEC)
    unlabelled.headers = [(HEADER_ORIGIN, SIMULATED)]
    bench.take(windows=[unlabelled])
    assert not bench.tiers()
    assert bench.counted("faultline_trainer_simulated_windows_total") == 3


def test_events_of_simulated_windows_keep_no_window_for_longer(bench: Bench) -> None:
    marked = event(20, 24)
    marked.headers = SIMULATED_HEADERS
    bench.take(windows=[marked_record("feeder", [0] * 40, SPEC)], faults=[marked])
    assert bench.tiers()["near_event"] == 0


def test_simulated_windows_are_stored_where_a_trial_wants_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, store_simulated=True)
    bench.take(windows=simulated())
    assert bench.tiers()["labelled"] == SIMULATED_WINDOWS
    assert bench.counted("faultline_trainer_simulated_windows_total") == 0


def test_what_is_none_of_ours_is_counted_and_passed_over(bench: Bench) -> None:
    invalid = [record(b"feeder", b"poison"), record(None, b"x"), record(b"feeder", None)]
    good = [marked_record("feeder", [0] * 3, SPEC)]
    bench.take(
        windows=[*invalid, *good],
        labels=[record(b"feeder", b"{"), operator_label(0, 1, spec="other"), operator_label(0, 1, "XYZ")],
        faults=[record(b"feeder", b"no event")],
    )
    assert bench.tiers() == {"labelled": 0, "near_event": 0, "recent": 3}
    assert bench.counted("faultline_trainer_skipped_records_total") == 6


async def test_a_store_that_cannot_be_written_is_reported_until_it_can(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise StoreError("store: No space left on device")

    bench.take(windows=[marked_record("feeder", [0] * 3, SPEC)])
    monkeypatch.setattr(bench.store, "flush", full)
    assert not await bench.ingester._try_flush()
    assert bench.ingester.failing
    assert bench.counted("faultline_store_failing") == 1
    monkeypatch.undo()
    assert await bench.ingester._try_flush()
    assert not bench.ingester.failing
    assert bench.tiers()["recent"] == 3


async def test_a_snapshot_holds_the_labelled_windows(bench: Bench, tmp_path: Path) -> None:
    bench.take(windows=[marked_record("feeder", [0] * 12, SPEC)], labels=[operator_label(0, 5)])
    (tmp_path / "snapshot").mkdir()
    await bench.ingester.snapshot(tmp_path / "snapshot")
    with LabelledStore(tmp_path / "snapshot") as store:
        assert store.summary()[0].windows["labelled"] == 6


async def test_the_windows_before_an_event_are_kept_for_a_network_with_a_memory(tmp_path: Path) -> None:
    limits = StoreLimits.from_settings(settings(tmp_path), context_windows=10)
    bench = Bench(tmp_path / "without")
    bench.take(windows=[marked_record("feeder", [0] * 60, SPEC)], faults=[event(30, 34)])
    with_context = Bench(tmp_path / "with", limits=limits)
    with_context.take(windows=[marked_record("feeder", [0] * 60, SPEC)], faults=[event(30, 34)])
    assert with_context.tiers()["near_event"] == bench.tiers()["near_event"] + 10
    with_context.take(labels=[operator_label(30, 33)])
    assert with_context.store.summary()[0].context == 10
    await with_context.ingester.refresh_metrics()
    assert with_context.counted("faultline_store_windows", labelled="true") == 4
    assert with_context.counted("faultline_store_windows", labelled="false") == 56


def test_the_settings_bound_the_store(tmp_path: Path) -> None:
    limits = StoreLimits.from_settings(
        settings(tmp_path, store_labelled_mb=3, store_event_days=2.0, store_waiting_hours=6.0)
    )
    assert (limits.labelled_bytes, limits.near_event_s, limits.recent_s) == (3 * 1024 * 1024, 2 * DAY_S, 6 * 3600)
