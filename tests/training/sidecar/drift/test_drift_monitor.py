"""Drift of ingested windows is found once, live or in a backlog, and is described in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.artefact import shipped
from model.spec import load_spec
from stream.detection.decode import decode_batch
from stream.windowing import encode_windows
from tests.stream.doubles import record
from tests.training.sidecar.drift.drift_hours import SHOWN_WINDOWS, hour
from tests.training.sidecar.sidecar_samples import model, settings
from training.sidecar.drift.monitor import DriftMonitor, drift_policy
from training.sidecar.metrics import SidecarMetrics

SPEC = load_spec("line")


def messages(*, drifts: bool) -> Iterator[Any]:
    """Return an hour of stream time as records of ``sensor-windows``."""
    for names, start_ns, windows in hour(SPEC, 5, drifts=drifts, lines=3):
        for first in range(0, len(names), SHOWN_WINDOWS):
            value = encode_windows(
                windows[first : first + SHOWN_WINDOWS],
                SPEC,
                sequence=int(start_ns[first] // 1_000_000),
                start_ns=int(start_ns[first]),
                rate_hz=SPEC.rate_hz,
            )
            yield record(names[first].encode(), value)


def watch_in(path: Path) -> DriftMonitor:
    return DriftMonitor(SPEC, drift_policy(settings(path)), path / "drift.json", SidecarMetrics())


def found(watch: DriftMonitor, records: list[Any], at_once: int) -> list[str]:
    """Return the drift that is found if a number of records is fetched at once."""
    batches = (records[first : first + at_once] for first in range(0, len(records), at_once))
    said = [watch.check(decode_batch(batch, SPEC, max_bytes=10**7)) for batch in batches]
    return [one for one in said if one is not None]


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [9, 540])
def test_a_drift_of_gain_and_noise_is_found_once_live_or_as_a_backlog(tmp_path: Path, at_once: int) -> None:
    watch = watch_in(tmp_path)
    watch.use(shipped("line"))
    (reason,) = found(watch, list(messages(drifts=True)), at_once)
    assert "moved from" in reason
    watch.close()


@pytest.mark.slow
def test_an_hour_without_drift_is_silent(tmp_path: Path) -> None:
    watch = watch_in(tmp_path)
    assert found(watch, list(messages(drifts=False)), 27) == []


@pytest.mark.slow
def test_a_restart_in_the_midst_of_a_drift_changes_nothing(tmp_path: Path) -> None:
    records = list(messages(drifts=True))
    first = watch_in(tmp_path)
    before = found(first, records[:400], 9)
    first.save()
    assert [*before, *found(watch_in(tmp_path), records[400:], 9)] == found(watch_in(tmp_path / "other"), records, 9)


def test_a_line_is_shown_some_times_a_bucket_however_often_it_sends(tmp_path: Path) -> None:
    watch = watch_in(tmp_path)
    shown = 0
    update = watch._detector.update

    def counted(lines: list[str], *more: Any) -> Any:
        nonlocal shown
        shown += len(lines)
        return update(lines, *more)

    watch._detector.update = counted  # type: ignore[method-assign]
    hop_ns = round(SPEC.hop / SPEC.rate_hz * 1e9)
    windows = next(iter(hour(SPEC, 1, drifts=False, lines=1)))[2][:4]
    records = [
        record(b"feeder", encode_windows(windows, SPEC, sequence=n * 4, start_ns=n * 4 * hop_ns, rate_hz=SPEC.rate_hz))
        for n in range(500)  # ten seconds
    ]
    for one in records:
        watch.check(decode_batch([one], SPEC, max_bytes=10**7))
    assert shown == 4 * 4


def records_of(gain: float, first_s: float, count: int) -> list[Any]:
    """Return a record of one quiet line every ten seconds, with its signal amplified."""
    windows = next(iter(hour(SPEC, 1, drifts=False, lines=1, fault_share=0.0)))[2] * np.float32(gain)
    return [
        record(
            b"feeder",
            encode_windows(windows, SPEC, sequence=n, start_ns=round((first_s + 10 * n) * 1e9), rate_hz=SPEC.rate_hz),
        )
        for n in range(count)
    ]


@pytest.mark.slow
def test_another_champion_is_compared_with_what_comes_since_it_is_there(tmp_path: Path) -> None:
    def drift_after(second: str | None) -> list[str]:
        watch = watch_in(tmp_path / str(second))
        watch.use(model("first"))
        said = found(watch, records_of(1.0, 0, 60), 1)
        if second is not None:
            watch.use(model(second))
        said += found(watch, records_of(1.6, 600, 200), 1)
        watch.close()
        return said

    assert drift_after("second") == [], "promoted or rolled back by hand"
    for same in (None, "first"):
        assert len(drift_after(same)) == 1
