"""A working directory that an earlier version wrote (commit 10f72e6) is resumed, and nothing in it is lost.

``folder_of_10f72e6/`` was written by that version's own code: a store with windows of two specs in its three tiers,
labels on them, a promoted model, a retraining that the end of its sidecar interrupted, requests that wait behind it,
and the state of the drift detector.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domains.powerline.data.scenario import scenario
from model.artefact import Artefact
from model.engine import Engine
from model.spec import load_spec
from stream.contract import WindowLabel
from stream.windowing import cut_windows
from tests.training.sidecar.sidecar_samples import ChampionsInMemory, ReportsInMemory, model, request, settings
from training.data.feedback import labelled_count, split_feedback
from training.data.sequences import Sequences
from training.fitting.checkpoint import Checkpoint
from training.recipe import recipe_of
from training.report.data import ReportData
from training.sidecar.drift.detector import DriftDetector, DriftSignal
from training.sidecar.drift.monitor import drift_policy
from training.sidecar.job.spec import CANDIDATE, CHAMPION, FEEDBACK, JOB_FILE, OUTCOME, PAGE, REPORT, WORK, Outcome
from training.sidecar.job.train import read_feedback
from training.sidecar.metrics import SidecarMetrics
from training.sidecar.requests.consumer import RequestConsumer
from training.sidecar.requests.journal import Journal, JournalFile
from training.sidecar.retraining import Retrainer
from training.sidecar.service import Sidecar
from training.sidecar.store.store import LabelledStore, StoreSummary
from training.sidecar.workdir import WorkDir, find_report

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
STUB = "tests.training.sidecar.job.stub_job"
SPEC, INSTANT = load_spec("line"), load_spec("instant")
START_NS, HOP_NS = 1_767_225_600_000_000_000, 5_000_000
WRITTEN_NS = START_NS + 3600 * 10**9
"""The clock of the store that was written: windows without a label are dropped a day later."""
PROMOTED = "line-be930f92f598"
FINGERPRINT = "of 10f72e6"
LABELLED_WEIGHT = {"line": 146.7, "instant": 55.0}
EPISODES = [1724906811940999582, 4070806133518576705, 4527709074765286705]
RUNNING, WAITING = "b0f988f1a94d490782c1cf058f203cda", "04aeeae163d34e1197ac325bca6ed5c5"
ANSWER = (
    0.080415,
    0.080923,
    0.048943,
    0.072635,
    0.132243,
    0.055088,
    0.057566,
    0.062953,
    0.149513,
    0.084895,
    0.065522,
    0.109302,
)
CLASSES = {"none": 57, "BG": 10, "BC": 11, "CA": 12, "BCG": 12}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a copy of the folder for a test to work in."""
    return Path(shutil.copytree(HERE / "folder_of_10f72e6", tmp_path / "trainer"))


def opened(folder: Path) -> LabelledStore:
    """Open the store of a working directory, an hour after its windows came."""
    return LabelledStore(folder / "store", clock=lambda: WRITTEN_NS)


def summary(store: LabelledStore) -> dict[str, StoreSummary]:
    return {part.spec: part for part in store.summary()}


def times(first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Return start times and numbers of windows of spec `line`."""
    number = np.arange(first, last + 1)
    return START_NS + number * HOP_NS, number


def operator_label(name: str, line: str, fault_class: str, first: int, last: int) -> WindowLabel:
    return WindowLabel(
        label_id=name,
        line=line,
        spec="line",
        fault_class=fault_class,
        first_ns=START_NS + first * HOP_NS,
        last_ns=START_NS + last * HOP_NS,
        by="ada",
        at=datetime(2026, 2, 1, tzinfo=UTC),
    )


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


# The store -----------------------------------------------------------------------------------------------------------


def test_the_store_holds_as_many_windows_of_every_tier_class_and_label_as_before(path: Path) -> None:
    with opened(path) as store:
        found = summary(store)
    line, instant = found["line"], found["instant"]
    # The earlier version counted 23 and 127: 22 windows were in its files twice, as sent and with a label.
    assert line.windows == {"labelled": 102, "near_event": 11, "recent": 117}
    assert {name: count for name, count in line.classes.items() if count} == CLASSES
    assert (line.by_operators, line.lines, line.labels) == (27, 3, 4)
    assert instant.windows == {"labelled": 45, "near_event": 0, "recent": 35}
    assert {name: count for name, count in instant.classes.items() if count} == {"None": 25, "LG": 15, "LLG": 5}
    assert (instant.by_operators, instant.lines, instant.labels) == (5, 1, 1)
    assert line.set_aside == instant.set_aside == 0


def test_labelled_windows_come_back_with_their_values_labels_weights_and_episodes(path: Path) -> None:
    with opened(path) as store:
        line, instant = store.windows(SPEC), store.windows(INSTANT)
    assert (line.data.shape, digest(line.data)) == ((102, 32, 6), "6830de5a3dbae034")
    assert (digest(line.labels), digest(line.weights)) == ("f93fadf42c40b775", "dab2e5c04b79c8c5")
    assert (instant.data.shape, digest(instant.data)) == ((45, 1, 6), "a1aa2e3ebd5ebb9a")
    assert float(line.weights.sum()) == pytest.approx(LABELLED_WEIGHT["line"])
    assert float(instant.weights.sum()) == pytest.approx(LABELLED_WEIGHT["instant"])
    assert np.unique(line.episode).tolist() == EPISODES


def test_labelled_windows_come_back_as_short_sequences_of_the_same_episodes(path: Path) -> None:
    with opened(path) as store:
        single, found = store.windows(SPEC), store.sequences(SPEC, 128)
    assert np.count_nonzero(found.weights) == len(single)
    assert float(found.weights.sum()) == pytest.approx(LABELLED_WEIGHT["line"])
    assert np.unique(found.episode).tolist() == EPISODES
    learned = np.ascontiguousarray(cut_windows(found.data, SPEC)[found.weights > 0])
    assert sorted(window.tobytes() for window in learned) == sorted(window.tobytes() for window in single.data)


def test_the_same_windows_are_held_out_of_trainings_as_before(path: Path) -> None:
    with opened(path) as store:
        parts = split_feedback(store.windows(SPEC))
    assert (len(parts.train), len(parts.hold_out)) == (90, 12)


def test_a_window_that_is_there_is_not_stored_again(path: Path) -> None:
    with opened(path) as store:
        windows = np.zeros((90, *SPEC.window_shape), np.float32)
        assert store.add("feeder-0", SPEC, *times(1526, 1615), windows) == 10
        assert store.add("feeder-1", SPEC, *times(1485, 1564), windows[:80]) == 0
        assert store.add("feeder-2", SPEC, *times(223, 292), windows[:70]) == 0


def test_labels_that_were_given_are_known_and_find_windows_that_come_later(path: Path) -> None:
    with opened(path) as store:
        for name, line, fault_class in (
            ("no-fault", "feeder-0", "none"),
            ("a-fault", "feeder-1", "CA"),
            ("another", "feeder-2", "BG"),
            ("to-come", "feeder-9", "AG"),
        ):
            assert store.apply(operator_label(name, line, fault_class, 0, 1)).known
        store.add("feeder-9", SPEC, *times(95, 114), np.ones((20, *SPEC.window_shape), np.float32))
        assert summary(store)["line"].classes["AG"] == 10


def test_a_new_label_finds_windows_that_an_earlier_version_kept_for_it(path: Path) -> None:
    with opened(path) as store:
        assert store.apply(operator_label("new", "feeder-1", "AG", 1485, 1564)).windows == 80
        found = summary(store)["line"]
    assert (found.windows["labelled"], found.classes["AG"], found.classes["CA"]) == (102 + 68, 80, 0)


def test_what_waits_too_long_is_dropped_and_labelled_windows_stay(path: Path) -> None:
    with LabelledStore(path / "store", clock=lambda: WRITTEN_NS + 2 * 86_400 * 10**9) as store:
        store.flush()
        assert summary(store)["line"].windows == {"labelled": 102, "near_event": 11, "recent": 0}


# Requests and the retraining under way -------------------------------------------------------------------------------


def consumer_in(path: Path) -> tuple[RequestConsumer, ReportsInMemory]:
    published = ReportsInMemory()
    reports: Any = published
    return RequestConsumer(
        settings(path), "line", JournalFile(path / "journal.json"), reports, SidecarMetrics()
    ), published


async def test_the_interrupted_retraining_runs_first_and_then_those_that_waited(path: Path) -> None:
    consumer, published = consumer_in(path)
    assert consumer.pending.is_set()
    run = consumer.begin()
    assert run is not None
    assert (run.run_id, run.reason, run.request_ids) == (RUNNING, "drift", ["second", "timetable"])
    for name in ("first", "second", "third", "timetable", "fourth"):
        await consumer.receive(request(name))
    assert published.reports == [], "all were received before"
    consumer.finish()
    follow_up = consumer.begin()
    assert follow_up is not None
    assert (follow_up.run_id, follow_up.request_ids) == (WAITING, ["third", "fourth"])
    assert follow_up.options.model_dump() == {"epochs": 5, "episodes": 900, "seed": None, "warm_start": True}
    assert set(consumer.journal.last) == {"promoted"}


def test_a_journal_is_written_back_as_it_was_read(path: Path) -> None:
    before = (path / "journal.json").read_bytes()
    file = JournalFile(path / "journal.json")
    file.write(file.read())
    assert (path / "journal.json").read_bytes() == before


def test_a_final_report_that_was_not_published_is_still_there_to_be_published() -> None:
    journal = Journal.model_validate_json((HERE / "journal_ended_of_10f72e6.json").read_text(encoding="utf-8"))
    assert journal.ended is not None
    assert (journal.ended.state, journal.ended.model_id) == ("promoted", PROMOTED)
    assert journal.ended.request_ids == ["first"]
    assert journal.queue.running is not None


async def test_a_sidecar_starts_on_it_and_reads_journal_store_labels_and_drift_state(path: Path) -> None:
    champions: Any = ChampionsInMemory(Artefact.load(path / "run" / CHAMPION))
    state = (path / "drift.json").read_text(encoding="utf-8")
    sidecar = Sidecar(settings(path), SPEC, WorkDir(path), champions)
    assert sidecar._requests.pending.is_set()
    run = sidecar._requests.begin()
    assert run is not None
    assert run.run_id == RUNNING
    found = summary(sidecar._store)
    assert (found["line"].windows["labelled"], found["line"].labels) == (102, 4)
    assert found["line"].set_aside == found["instant"].set_aside == 0
    assert sidecar._drift is not None
    assert sidecar._drift._detector.state() == state
    await sidecar._shut_down([])


def test_what_the_interrupted_retraining_has_come_to_is_read(path: Path) -> None:
    workdir = WorkDir(path)
    job = workdir.job_spec()
    assert job is not None
    assert job.model_dump(exclude={"run_id"}) == {
        "spec": "line",
        "epochs": None,
        "episodes": None,
        "seed": None,
        "warm_start": False,
        "data": None,
        "evaluation_episodes": 110,
        "evaluation_lines": 30,
        "nice": 0,
        "memory_mb": None,
    }
    assert workdir.outcome() is None
    assert Artefact.load(workdir.run / CHAMPION).model_id == PROMOTED
    state = Checkpoint(workdir.run / WORK / "line-1.npz", FINGERPRINT).load()
    assert state is not None
    assert (state.history, [array.shape for array in state.variables]) == ({"loss": [0.5]}, [(3, 4), (5,)])
    for spec, count in ((SPEC, 102), (INSTANT, 45)):
        taken = read_feedback(workdir.run, spec, recipe_of(spec).steps)
        assert taken is not None
        assert isinstance(taken, Sequences) == (spec is SPEC)
        assert labelled_count(taken) == count


async def test_the_interrupted_retraining_is_ended_with_the_windows_that_it_began_with(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    candidate = model("candidate")
    candidate.save(tmp_path / CANDIDATE)
    monkeypatch.setenv("FAULTLINE_TEST_CANDIDATE", str(tmp_path / CANDIDATE))
    consumer, published = consumer_in(path)
    workdir = WorkDir(path)
    job, run = (workdir.run / JOB_FILE).read_bytes(), consumer.begin()
    assert run is not None

    async def another_snapshot(place: Path) -> None:
        raise AssertionError(f"{place}: a resumed retraining takes no second one")

    champions = ChampionsInMemory(Artefact.load(workdir.run / CHAMPION))
    registry: Any = champions
    reports: Any = published
    retrainer = Retrainer(settings(path), workdir, registry, reports, (sys.executable, "-m", STUB))
    final = await retrainer.retrain(run, another_snapshot)
    assert (final.state, final.run_id, final.champion_id) == ("promoted", run.run_id, PROMOTED)
    assert (workdir.run / JOB_FILE).read_bytes() == job
    assert (workdir.run / FEEDBACK).is_dir()
    assert champions.published == [candidate.model_id]
    workdir.archive("promoted", candidate.model_id, keep=2)
    assert sorted(place.name for place in (path / "promoted").iterdir()) == sorted([PROMOTED, candidate.model_id])


def test_the_promoted_model_its_outcome_and_its_report_are_read(path: Path) -> None:
    place = path / "promoted" / PROMOTED
    assert find_report(path, "latest") == find_report(path, PROMOTED) == place / REPORT
    assert (place / REPORT / PAGE).is_file()
    report = ReportData.model_validate_json((place / REPORT / "report.json").read_text(encoding="utf-8"))
    assert len(report.verdict.criteria) == 5
    outcome = Outcome.model_validate_json((place / OUTCOME).read_text(encoding="utf-8"))
    assert (outcome.model_id, outcome.passed) == (PROMOTED, True)
    artefact = Artefact.load(place / CANDIDATE)
    assert artefact.model_id == PROMOTED
    with Engine(artefact, threads=1, buckets=(8,)) as engine:
        answer = engine.classify(np.full((2, *SPEC.window_shape), 0.5, np.float32))
    np.testing.assert_allclose(answer.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(answer[0], ANSWER, atol=1e-4)


# Drift ---------------------------------------------------------------------------------------------------------------


def test_the_drift_detector_resumes_where_it_was(path: Path) -> None:
    kept = (path / "drift.json").read_text(encoding="utf-8")
    detector = DriftDetector.from_state(kept, SPEC, drift_policy(settings(path)))
    assert detector.state() == kept
    (signal,) = drifting(detector)
    assert signal.feature == "voltage level (p.u.)"
    assert (signal.before, signal.after) == (pytest.approx(0.9953, abs=1e-3), pytest.approx(1.4905, abs=1e-3))
    assert signal.at_ns == START_NS + 1530 * 10**9


def drifting(detector: DriftDetector) -> list[DriftSignal]:
    """Ingest later windows of the lines, with all voltages suddenly 50 % higher, and return the drift found."""
    what = scenario(3, 12.8, seed=5)
    view = np.lib.stride_tricks.sliding_window_view(what.samples, SPEC.samples, axis=1)[:, :: SPEC.hop]
    windows, found = view.transpose(0, 1, 3, 2), []
    for bucket in range(100, 180):
        first = (bucket * 97) % (windows.shape[1] - 24)
        shown = np.ascontiguousarray(windows[:2, first : first + 24]).reshape(-1, *SPEC.window_shape)
        shown = shown * np.float32([1, 1, 1, 1.5, 1.5, 1.5])
        at_ns = START_NS + bucket * 10 * 10**9 + np.tile(np.arange(24) * HOP_NS, 2)
        signal = detector.update(["feeder-0"] * 24 + ["feeder-1"] * 24, at_ns, shown)
        found += [signal] if signal else []
    return found
