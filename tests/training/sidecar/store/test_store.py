"""The store keeps every window once, through crashes, and labels find windows that came before or come after."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.spec import load_spec
from stream.contract import WindowLabel
from stream.windowing import cut_windows
from training.data.balancing import balanced, fair_shares
from training.data.windows import split_by_episode
from training.errors import StoreError, TrainingError
from training.sidecar.store import store as store_module
from training.sidecar.store.episodes import episodes_of, window_weights
from training.sidecar.store.store import LabelledStore
from training.sidecar.store.stretches import OPERATOR_WEIGHT
from training.sidecar.store.tiers import DAY_S, StoreLimits

SPEC = load_spec("line")
HOP_NS = 5_000_000
BEGIN_NS = 1_767_225_600_000_000_000
SMALL = StoreLimits(pending_windows=64)
NONE, AG, BG = 0, 1, 2
Made = tuple[np.ndarray, np.ndarray, np.ndarray]


def windows(count: int, first: int = 0, seed: int = 0) -> Made:
    """Return start times, numbers and overlapping windows of noise."""
    number = np.arange(first, first + count)
    noise = np.random.default_rng(seed).standard_normal((count, *SPEC.window_shape)).astype(np.float32)
    return BEGIN_NS + number * HOP_NS, number, noise


def wave(count: int, first: int = 0) -> Made:
    """Return start times, numbers and windows of one wave, which therefore agree where they overlap."""
    number = np.arange(first, first + count)
    samples = np.random.default_rng(1).standard_normal(((first + count) * SPEC.hop + SPEC.samples, 6))
    cut = cut_windows(samples.astype(np.float32), SPEC)[first : first + count]
    return BEGIN_NS + number * HOP_NS, number, np.ascontiguousarray(cut)


def fill(store: LabelledStore, line: str, count: int, labels: object = None, first: int = 0) -> int:
    times, numbers, data = windows(count, first)
    given = None if labels is None else np.broadcast_to(np.asarray(labels), count)
    return store.add(line, SPEC, times, numbers, data, given, "test")


@contextmanager
def no_room(store: LabelledStore) -> Iterator[None]:
    """Prevent the database from growing by another page."""
    ((pages,),) = store._database.rows("PRAGMA page_count")
    store._database.rows(f"PRAGMA max_page_count={pages}")
    yield
    store._database.rows("PRAGMA max_page_count=1000000")


def operator_label(
    name: str, first: int, last: int, line: str = "a", *, hours: float = 0, number: str = ""
) -> WindowLabel:
    return WindowLabel(
        label_id=number or f"{name}-{first}-{last}-{hours}",
        line=line,
        spec="line",
        fault_class=name,
        first_ns=BEGIN_NS + first * HOP_NS,
        last_ns=BEGIN_NS + last * HOP_NS,
        by="test",
        at=datetime(2026, 1, 2, tzinfo=UTC) + timedelta(hours=hours),
    )


def test_windows_come_back_as_they_were_given(tmp_path: Path) -> None:
    times, numbers, data = windows(200)
    with LabelledStore(tmp_path, SMALL) as store:
        store.add("a", SPEC, times, numbers, data, np.full(200, AG))
    with LabelledStore(tmp_path, SMALL) as store:
        found = store.windows(SPEC)
    assert np.array_equal(found.data, data)
    assert (found.labels == AG).all()


@pytest.mark.parametrize("restart", [False, True])
def test_a_window_delivered_again_is_stored_once(tmp_path: Path, restart: bool) -> None:
    store = LabelledStore(tmp_path, SMALL)
    assert fill(store, "a", 100, AG) == 100
    if restart:
        store.close()
        store = LabelledStore(tmp_path, SMALL)
    assert fill(store, "a", 120, AG) == 20
    assert fill(store, "b", 10, AG) == 10
    times, numbers, data = windows(3)
    twice = store.add("c", SPEC, times[[0, 0, 1]], numbers[[0, 0, 1]], data, [AG] * 3)
    assert twice == 2
    assert len(store.windows(SPEC)) == 132
    store.close()


@pytest.mark.parametrize("flushed", [False, True])
def test_a_label_finds_windows_that_came_before_and_those_that_come_after(tmp_path: Path, flushed: bool) -> None:
    with LabelledStore(tmp_path, SMALL) as store:
        fill(store, "a", 150)
        if flushed:
            store.flush()
        assert len(store.windows(SPEC)) == 0
        assert store.apply(operator_label("AG", 100, 199)).windows == 50
        fill(store, "a", 100, first=150)
        found = store.windows(SPEC)
        assert (len(found), set(found.labels)) == (100, {AG})
        assert store.summary()[0].by_operators == 100


def test_of_two_labels_the_later_counts_whichever_comes_first(tmp_path: Path) -> None:
    for name, order in (("early-first", (0, 1)), ("late-first", (1, 0))):
        given = [operator_label("AG", 0, 9, hours=1), operator_label("none", 5, 14, hours=2)]
        with LabelledStore(tmp_path / name, SMALL) as store:
            fill(store, "a", 20, BG)
            for k in order:
                store.apply(given[k])
        with LabelledStore(tmp_path / name, SMALL) as store:
            assert store.windows(SPEC).labels.tolist() == [AG] * 5 + [NONE] * 10 + [BG] * 5


def test_a_label_repeated_does_nothing_and_one_without_windows_is_counted(tmp_path: Path) -> None:
    with LabelledStore(tmp_path, SMALL) as store:
        fill(store, "a", 10)
        once = operator_label("AG", 0, 4)
        assert not store.apply(once).known
        assert store.apply(once).known
        assert store.apply(operator_label("AG", 500, 600)).windows == 0
        assert store.apply(operator_label("AG", 0, 5, line="b")).windows == 0
        summary = store.summary()[0]
        assert (summary.labels, summary.labels_without_windows) == (3, 2)
        with pytest.raises(TrainingError, match="has no class 'XY': use none, AG, BG"):
            store.apply(operator_label("XY", 0, 1))


def test_windows_near_an_event_outlast_the_ring(tmp_path: Path) -> None:
    now = [BEGIN_NS]
    store = LabelledStore(tmp_path, SMALL, clock=lambda: now[0])
    fill(store, "a", 300)
    assert store.keep_near_event("a", SPEC, BEGIN_NS + 100 * HOP_NS, BEGIN_NS + 149 * HOP_NS) == 50
    store.flush()
    now[0] += round(2 * DAY_S * 1e9)
    store.flush()
    assert store.summary()[0].windows == {"labelled": 0, "near_event": 50, "recent": 0}
    assert store.apply(operator_label("AG", 0, 299)).windows == 50
    assert len(store.windows(SPEC)) == 50
    now[0] += round(31 * DAY_S * 1e9)
    store.flush()
    assert store.summary()[0].windows == {"labelled": 50, "near_event": 0, "recent": 0}
    store.close()


WITH_CONTEXT = SMALL.model_copy(update={"context_windows": 20})


@pytest.mark.parametrize("flushed", [False, True])
def test_a_label_keeps_the_context_of_its_windows(tmp_path: Path, flushed: bool) -> None:
    now = [BEGIN_NS]
    with LabelledStore(tmp_path, WITH_CONTEXT, clock=lambda: now[0]) as store:
        store.add("a", SPEC, *wave(150))
        if flushed:
            store.flush()
        store.apply(operator_label("AG", 100, 119))
        summary = store.summary()[0]
        assert (summary.windows["labelled"], summary.context) == (20, 20)
        now[0] += round(2 * DAY_S * 1e9)
        store.flush()
        summary = store.summary()[0]
        assert summary.windows == {"labelled": 20, "near_event": 0, "recent": 0}
        assert summary.context == 20
        assert summary.classes["AG"] == 20
        store.snapshot(tmp_path / "snapshot")
    with LabelledStore(tmp_path / "snapshot") as frozen:
        found = frozen.sequences(SPEC, 64)
        assert len(frozen.windows(SPEC)) == 20
    assert np.flatnonzero(found.weights[0]).tolist() == list(range(20, 40))
    assert np.array_equal(cut_windows(found.data[0], SPEC)[:40], wave(150)[2][80:120])


def test_the_context_of_an_event_waits_for_its_label_as_long_as_the_event(tmp_path: Path) -> None:
    now = [BEGIN_NS]
    with LabelledStore(tmp_path, WITH_CONTEXT, clock=lambda: now[0]) as store:
        store.add("a", SPEC, *wave(150))
        first_ns, last_ns = BEGIN_NS + 100 * HOP_NS, BEGIN_NS + 119 * HOP_NS
        assert store.keep_near_event("a", SPEC, first_ns, last_ns) == 40
        store.flush()
        now[0] += round(20 * DAY_S * 1e9)
        store.flush()
        assert store.summary()[0].windows == {"labelled": 0, "near_event": 40, "recent": 0}
        store.apply(operator_label("none", 100, 119))
        assert np.flatnonzero(store.sequences(SPEC, 64).weights[0]).tolist() == list(range(20, 40))


def test_windows_that_come_with_labels_keep_the_context_that_came_before(tmp_path: Path) -> None:
    times, numbers, data = wave(150)
    with LabelledStore(tmp_path, WITH_CONTEXT) as store:
        store.add("a", SPEC, times[:100], numbers[:100], data[:100])
        store.flush()
        store.add("a", SPEC, times[100:], numbers[100:], data[100:], [AG] * 50)
        summary = store.summary()[0]
    assert (summary.windows["labelled"], summary.context, summary.windows["recent"]) == (50, 20, 80)


def test_context_leaves_with_the_windows_that_follow_it_and_never_instead_of_them(tmp_path: Path) -> None:
    limits = WITH_CONTEXT.model_copy(update={"labelled_bytes": 200_000})
    with LabelledStore(tmp_path, limits) as store:
        for k in range(30):
            first = 1000 * k
            times, numbers, data = windows(60, first)
            store.add("a", SPEC, times[:40], numbers[:40], data[:40])
            store.add("a", SPEC, times[40:], numbers[40:], data[40:], [AG if k == 0 else NONE] * 20)
        store.flush()
        summary = store.summary()[0]
        assert summary.bytes["labelled"] <= 200_000
        assert summary.classes["AG"] == 20
        newest = store.sequences(SPEC, 64)
    assert 0 < summary.classes["none"] < 29 * 20
    assert abs(summary.context - summary.windows["labelled"]) <= 20
    assert len(newest) > 0


def test_a_store_of_the_version_before_is_read_and_its_windows_have_no_context(tmp_path: Path) -> None:
    with LabelledStore(tmp_path, SMALL) as store:
        store.add("a", SPEC, *wave(40), [AG] * 40)
        times, numbers, data = wave(11)
        store.add("b", SPEC, times[10:], numbers[10:], data[10:], [BG])
        store._database.rows("PRAGMA user_version=1")
    with LabelledStore(tmp_path, WITH_CONTEXT) as store:
        found = store.sequences(SPEC, 32)
        assert store._database.rows("PRAGMA user_version") == [(2,)]
        assert store.summary()[0].context == 0
    assert sorted(np.count_nonzero(found.weights, axis=1).tolist()) == [1, 8, 32]
    assert found.labels[found.weights > 0].tolist().count(BG) == 1


def test_the_ring_stays_within_its_bytes_and_drops_the_oldest(tmp_path: Path) -> None:
    now = [BEGIN_NS]
    limits = StoreLimits(pending_windows=64, recent_bytes=300_000)
    with LabelledStore(tmp_path, limits, clock=lambda: now[0]) as store:
        for first in range(0, 1280, 64):
            now[0] += 10**9
            fill(store, "a", 64, first=first)
            store.flush()
        assert store.summary()[0].bytes["recent"] <= 300_000
        assert store.apply(operator_label("AG", 0, 63)).windows == 0
        assert store.apply(operator_label("AG", 1216, 1279)).windows == 64


def test_too_many_labelled_windows_leave_evenly_and_old_ones_first(tmp_path: Path) -> None:
    limits = StoreLimits(pending_windows=64, labelled_bytes=400_000)
    with LabelledStore(tmp_path, limits) as store:
        fill(store, "a", 1500, NONE)
        fill(store, "b", 300, NONE)
        fill(store, "a", 60, AG, first=5000)
        fill(store, "a", 30, first=6000)
        store.apply(operator_label("none", 6000, 6029))
        store.flush()
        summary = store.summary()[0]
        assert summary.bytes["labelled"] <= 400_000
        assert summary.classes["AG"] == 60
        assert summary.by_operators == 30
        assert 200 <= summary.classes["none"] <= 600
        left = store.windows(SPEC)
        assert len(np.unique(left.episode)) >= 3
    with LabelledStore(tmp_path, limits) as store:
        assert store.summary()[0].classes == summary.classes
        # The newest windows of line a remain.
        assert store.add("a", SPEC, *windows(1)) == 1
        assert store.add("a", SPEC, *windows(1, first=1499)) == 0


@pytest.mark.parametrize("flushes", [1, 7, 40])
def test_what_was_flushed_outlives_a_kill(tmp_path: Path, flushes: int) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.training.sidecar.store.store_child", str(tmp_path)],
        cwd=Path(__file__).resolve().parents[4],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    for line in itertools.islice(child.stdout, flushes):
        safe = int(line)
    child.kill()
    safe = max([safe, *(int(line) for line in child.stdout.readlines() if line.endswith("\n"))])
    child.wait()
    with LabelledStore(tmp_path, StoreLimits()) as store:
        found = store.windows(SPEC)
        assert store.summary()[0].set_aside == 0
        number = np.sort(found.data[:, 0, 0].astype(int))
        assert np.array_equal(number, np.arange(len(number)))  # each once
        assert len(number) >= safe
        assert np.array_equal(found.labels, found.data[:, 0, 0].astype(int) % 12)


def test_a_label_that_was_answered_outlives_a_kill_with_the_windows_it_moved(tmp_path: Path) -> None:
    """Check a kill between label and move: the first store logged a label before the move, which was then lost."""
    child = subprocess.run(
        [sys.executable, "-m", "tests.training.sidecar.store.store_child", str(tmp_path), "label"],
        cwd=Path(__file__).resolve().parents[4],
        stdout=subprocess.PIPE,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    with LabelledStore(tmp_path, SMALL) as store:
        assert store.summary()[0].labels == 1
        assert len(store.windows(SPEC)) == 20
        assert store.summary()[0].windows == {"labelled": 20, "near_event": 0, "recent": 40}


def test_a_label_that_was_not_answered_comes_again(tmp_path: Path) -> None:
    with LabelledStore(tmp_path, SMALL) as store:
        fill(store, "a", 20)
        store.flush()
        fill(store, "a", 50, first=20)
        with no_room(store), pytest.raises(StoreError, match="make room"):
            store.apply(operator_label("BG", 5, 9))
        assert not store.apply(operator_label("BG", 5, 9)).known
        assert store.apply(operator_label("BG", 5, 9)).known
        assert store.windows(SPEC).labels.tolist() == [BG] * 5
    with LabelledStore(tmp_path, SMALL) as store:
        assert store.apply(operator_label("BG", 5, 9)).known


def test_a_label_may_come_before_the_first_window_of_its_spec(tmp_path: Path) -> None:
    with LabelledStore(tmp_path, SMALL) as store:
        assert store.apply(operator_label("AG", 5, 9)).windows == 0
        assert store.apply(operator_label("XY", 5, 9)).windows == 0
        assert store.summary() == []
    with LabelledStore(tmp_path, SMALL) as store:
        fill(store, "a", 20)
        assert store.windows(SPEC).labels.tolist() == [AG] * 5


def test_of_many_labels_the_oldest_are_forgotten_and_their_windows_keep_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "MAX_LABELS", 10)
    with LabelledStore(tmp_path, SMALL) as store:
        fill(store, "a", 20)
        for k in range(11):
            store.apply(operator_label("AG", k, k))
        store.flush()
        assert store.summary()[0].labels == 6
    with LabelledStore(tmp_path, SMALL) as store:
        assert len(store.windows(SPEC)) == 11
        assert not store.apply(operator_label("AG", 0, 0)).known
        assert store.apply(operator_label("AG", 10, 10)).known


def test_a_late_label_divides_the_block_of_its_windows(tmp_path: Path) -> None:
    times, numbers, data = windows(300)
    with LabelledStore(tmp_path, SMALL) as store:
        store.add("a", SPEC, times, numbers, data)
        store.flush()
        store.apply(operator_label("AG", 100, 199))
        store.flush()
        store.apply(operator_label("BG", 150, 249, hours=1))
        assert store.summary()[0].windows == {"labelled": 150, "near_event": 0, "recent": 150}
        found = store.windows(SPEC)
        assert np.array_equal(found.data, data[100:250])
        assert found.labels.tolist() == [AG] * 50 + [BG] * 100
        assert fill(store, "a", 300) == 0


def test_windows_of_another_definition_of_the_spec_are_not_used_and_leave_with_age(tmp_path: Path) -> None:
    now = [BEGIN_NS]
    other = SPEC.model_copy(update={"classes": SPEC.classes[:-1]})
    with LabelledStore(tmp_path, SMALL, clock=lambda: now[0]) as store:
        fill(store, "a", 20, AG)
        times, numbers, data = windows(10)
        assert store.add("a", other, times, numbers, data, [BG] * 10) == 10
        assert store.windows(other).labels.tolist() == [BG] * 10
    with LabelledStore(tmp_path, SMALL, clock=lambda: now[0]) as store:
        assert [len(store.windows(spec)) for spec in (other, SPEC, other)] == [10, 20, 10]
        assert store.summary()[0].windows["labelled"] == 10
        now[0] += round(366 * DAY_S * 1e9)
        store.flush()
        assert [len(store.windows(spec)) for spec in (other, SPEC)] == [0, 0]


def test_a_disk_that_takes_nothing_loses_nothing(tmp_path: Path) -> None:
    store = LabelledStore(tmp_path, SMALL)
    fill(store, "a", 10, AG)
    store.flush()
    fill(store, "a", 50, AG, first=10)
    assert store.keep_near_event("a", SPEC, BEGIN_NS, BEGIN_NS + 9 * HOP_NS) == 10
    with no_room(store):
        with pytest.raises(StoreError, match=r"database or disk is full; make room"):
            store.flush()
        with pytest.raises(StoreError, match="make room"):
            fill(store, "a", 40, AG, first=60)
    store.flush()
    assert len(store.windows(SPEC)) == 100
    store.close()
    with LabelledStore(tmp_path, SMALL) as store:
        assert len(store.windows(SPEC)) == 100


def test_the_file_shrinks_when_windows_leave(tmp_path: Path) -> None:
    now = [BEGIN_NS]
    with LabelledStore(tmp_path, SMALL, clock=lambda: now[0]) as store:
        fill(store, "a", 2000)
        fill(store, "b", 200, AG)
        store.flush()
        now[0] += round(2 * DAY_S * 1e9)
        for _ in range(5):
            store.flush()
        size = store.summary()[0].bytes["labelled"]
    assert (tmp_path / "store.sqlite").stat().st_size < 1.3 * size + 100_000
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "store.sqlite"]


def test_a_snapshot_is_what_was_there_then(tmp_path: Path) -> None:
    with LabelledStore(tmp_path / "store", SMALL) as store:
        fill(store, "a", 100)
        store.apply(operator_label("AG", 0, 49))
        store.snapshot(tmp_path / "snapshot")
        fill(store, "b", 70, BG)
        store.apply(operator_label("BG", 0, 49, hours=1))
        with LabelledStore(tmp_path / "snapshot", SMALL) as frozen:
            found = frozen.windows(SPEC)
            assert frozen.summary()[0].windows == {"labelled": 50, "near_event": 0, "recent": 0}
            assert frozen.apply(operator_label("AG", 0, 49)).known
        assert store.summary()[0].windows == {"labelled": 120, "near_event": 0, "recent": 50}
    assert (len(found), set(found.labels)) == (50, {AG})


def test_a_snapshot_that_cannot_be_written_is_reported_and_the_store_goes_on(tmp_path: Path) -> None:
    with LabelledStore(tmp_path / "store", SMALL) as store:
        fill(store, "a", 10, AG)
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError, match="cannot write the snapshot"):
            store.snapshot(tmp_path / "file")
        store.snapshot(tmp_path / "snapshot")
        assert len(store.windows(SPEC)) == 10


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with LabelledStore(tmp_path, SMALL), pytest.raises(StoreError, match="another process"):
        LabelledStore(tmp_path, SMALL)
    LabelledStore(tmp_path, SMALL).close()


def test_windows_of_the_wrong_shape_or_class_are_refused(tmp_path: Path) -> None:
    times, numbers, data = windows(4)
    with LabelledStore(tmp_path, SMALL) as store:
        with pytest.raises(TrainingError, match="must be"):
            store.add("a", SPEC, times, numbers, data[:, :-1])
        with pytest.raises(TrainingError, match="from 0 to 11"):
            store.add("a", SPEC, times, numbers, data, [0, 1, 2, 12])


def test_a_series_of_windows_is_one_episode_and_no_split_divides_it(tmp_path: Path) -> None:
    with LabelledStore(tmp_path, StoreLimits()) as store:
        for line in "abcd":
            fill(store, line, 100, AG)
            fill(store, line, 100, BG, first=1000)  # 4.5 s later
        found = store.windows(SPEC)
    assert len(np.unique(found.episode)) == 8
    train, held = split_by_episode(found, (0.5, 0.5), 1)
    assert not set(train.episode) & set(held.episode)


def test_a_long_series_is_divided_in_quiet_and_no_sample_is_on_both_sides() -> None:
    count = 30_000  # 150 s
    times = BEGIN_NS + np.arange(count) * HOP_NS
    labels = np.zeros(count, np.int16)
    labels[5950:6100] = AG  # across the thirtieth second
    episode, alone = episodes_of(np.full(count, 7, np.uint64), times, labels, SPEC)
    parted = np.flatnonzero(np.diff(episode)) + 1
    assert len(parted) == 4
    assert not any(labels[place] or labels[place - 1] for place in parted)
    for place in parted:
        assert not alone[place : place + 3].any()
    assert alone.sum() == count - 3 * len(parted)


def test_weights_follow_how_much_of_a_window_the_fault_fills(tmp_path: Path) -> None:
    labels = np.array([NONE] * 5 + [AG] * 6 + [NONE] * 6)
    follows = np.ones(17, bool)
    follows[0] = False
    found = window_weights(labels, follows, SPEC)
    assert found[:5].tolist() == [1] * 5
    assert found[5:11].tolist() == [0.25, 0.5, 0.75, 1, 1, 1]
    assert found[11:17] == pytest.approx([0.3, 0.3, 0.3, 1, 1, 1])
    with LabelledStore(tmp_path, SMALL) as store:
        fill(store, "a", 10)
        store.apply(operator_label("none", 0, 9))
        assert store.windows(SPEC).weights.tolist() == [OPERATOR_WEIGHT] * 10


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(0, 200))
def test_shares_spend_the_budget_and_give_nobody_more_than_it_has(counts: list[int], budget: int) -> None:
    shares = fair_shares(np.array(counts), budget)
    assert (shares <= counts).all()
    assert shares.sum() == min(budget, sum(counts))
    for share, count in zip(shares, counts, strict=True):
        assert share == count or share >= shares.max() - 1


def test_what_stays_is_balanced_by_every_level_and_new() -> None:
    classes = np.repeat([0, 1, 2], [1000, 100, 10])
    lines = np.arange(1110) % 2
    keep = balanced([classes, lines], np.arange(1110), 300)
    assert keep.sum() == 300
    assert [int(keep[classes == c].sum()) for c in range(3)] == [190, 100, 10]
    assert np.flatnonzero(keep & (classes == 0)).min() == 810
