"""Two models on one recording: equal or different episodes, and the reason."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from faultline.comparison import CompareError, Comparison, ModelRun, Tolerance, compare, compare_runs
from model.artefact import Artefact, shipped
from model.spec import load_spec
from stream.detection.offline import Detector
from stream.recordings.recording import RecordedMessage, RecordingWriter
from stream.recordings.sources import open_replay
from stream.windowing import MSGPACK_HEADERS
from tests.delivery.processes.marked import HOP_NS, SPEC, MarkedClassifier, marked_message

REPOSITORY = Path(__file__).resolve().parents[2]
START_NS = 1_700_000_000_000_000_000
NONE, AG, ABC, ABCG, AB = (SPEC.class_index(name) for name in ("none", "AG", "ABC", "ABCG", "AB"))
QUIET = [NONE] * 20


class OtherEyes(MarkedClassifier):
    """Predict some classes as others, or reject them as out of distribution."""

    model_id = "other"

    def __init__(self, sees: Callable[[NDArray[np.int64]], NDArray[np.int64]], unlike: int | None = None) -> None:
        super().__init__()
        self._sees = sees
        self._unlike = unlike

    def follow(
        self, windows: NDArray[np.float32], line: NDArray[np.intp], memory: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        seen = windows.copy()
        seen[:, 0, 0] = self._sees(windows[:, 0, 0].astype(int))
        return super().follow(seen, line, memory)

    def is_ood(self, windows: NDArray[np.float32]) -> NDArray[np.bool_]:
        return np.asarray(windows[:, 0, 0] == self._unlike)


def recording(folder: Path, lines: Mapping[str, list[int]], extra: list[RecordedMessage] | None = None) -> Path:
    """Return windows of known classes, four in a message."""
    path = folder / "r.parquet"
    with RecordingWriter(path) as writer:
        for line, classes in lines.items():
            for first in range(0, len(classes), 4):
                value = marked_message(first, classes[first : first + 4], START_NS)
                time_ms = (START_NS + first * HOP_NS) // 10**6
                writer.write(
                    RecordedMessage("sensor-windows", 0, first, time_ms, line.encode(), value, MSGPACK_HEADERS)
                )
        for message in extra or ():
            writer.write(message)
    return path


def compared(path: Path, other: MarkedClassifier, tolerance: Tolerance | None = None) -> Comparison:
    runs = [ModelRun(Detector(model, SPEC)) for model in (MarkedClassifier(), other)]
    return compare_runs(open_replay(path, SPEC), runs[0], runs[1], topic="sensor-windows", tolerance=tolerance)


def test_models_that_see_the_same_agree(tmp_path: Path) -> None:
    path = recording(tmp_path, {"a": [*QUIET, *[AG] * 12, *QUIET], "b": [*QUIET, *[AB] * 8, *QUIET]})
    found = compared(path, MarkedClassifier())
    assert found.agree
    assert [(pair.line, pair.relation) for pair in found.pairs] == [("a", "same"), ("b", "same")]
    assert (found.windows, found.windows_differ) == (52 + 48, 0)


def test_an_episode_of_one_model_only_is_explained_by_the_other_s_windows(tmp_path: Path) -> None:
    path = recording(tmp_path, {"a": [*QUIET, *[AG] * 12, *QUIET], "b": [*QUIET, *[AB] * 8, *QUIET]})
    blind = OtherEyes(lambda classes: np.where(classes == AG, NONE, classes))
    found = compared(path, blind)
    assert not found.agree
    missed = next(pair for pair in found.pairs if pair.line == "a")
    assert missed.relation == "only first"
    assert missed.second is None
    (why,) = missed.differences
    assert why.startswith("the second model has no episode: its ")
    assert "none; highest fault probability 13%" in why
    assert [(line.line, line.differ) for line in found.lines] == [("a", 12)]
    assert found.lines[0].first_ns == START_NS + 20 * HOP_NS


def test_windows_that_a_model_rejects_are_counted(tmp_path: Path) -> None:
    path = recording(tmp_path, {"a": [*QUIET, *[AG] * 12, *QUIET]})
    found = compared(path, OtherEyes(lambda classes: classes, unlike=AG))
    assert "12 out of distribution" in found.pairs[0].differences[0]


def test_another_class_is_a_difference_but_not_three_phases_with_and_without_ground(tmp_path: Path) -> None:
    path = recording(tmp_path, {"a": [*QUIET, *[AG] * 12, *QUIET], "b": [*QUIET, *[ABC] * 8, *QUIET]})
    swapped = {AG: AB, ABC: ABCG}
    found = compared(path, OtherEyes(lambda classes: np.array([swapped.get(int(c), int(c)) for c in classes])))
    by_line = {pair.line: pair for pair in found.pairs}
    assert by_line["a"].differences == ("class AG with the first, AB with the second",)
    assert by_line["b"].relation == "same"
    assert by_line["b"].second is not None
    assert by_line["b"].second.fault_class == "ABCG"
    assert [line.line for line in found.lines] == ["a"]


@pytest.mark.parametrize(("tolerance_ms", "agree"), [(5.0, False), (25.0, True)])
def test_inceptions_and_durations_beyond_the_tolerance_are_differences(
    tmp_path: Path, tolerance_ms: float, agree: bool
) -> None:
    path = recording(tmp_path, {"a": [*QUIET, AB, AB, *[AG] * 12, *QUIET]})
    late = OtherEyes(lambda classes: np.where(classes == AB, NONE, classes))
    found = compared(path, late, Tolerance(inception_ms=tolerance_ms, duration_ms=tolerance_ms))
    assert found.agree is agree
    if not agree:
        assert "inception 10.0 ms later with the second" in found.pairs[0].differences
        assert "lasts 10.0 ms shorter with the second" in found.pairs[0].differences


def test_an_episode_that_only_one_model_sees_cleared_is_a_difference(tmp_path: Path) -> None:
    path = recording(tmp_path, {"a": [*QUIET, *[AG] * 8, *[AB] * 2, *[NONE] * 9, AB]})
    deaf = OtherEyes(lambda classes: np.where(np.arange(len(classes)) >= 30, AG, classes))
    found = compared(path, deaf)
    assert found.pairs[0].differences == ("cleared only with the first",)


def test_one_long_episode_pairs_with_the_longest_of_several(tmp_path: Path) -> None:
    gap = [NONE] * 9
    path = recording(tmp_path, {"a": [*QUIET, *[AG] * 4, *gap, *[AG] * 16, *QUIET]})
    bridging = OtherEyes(
        lambda classes: np.where((np.arange(len(classes)) >= 20) & (np.arange(len(classes)) < 49), AG, classes)
    )
    found = compared(path, bridging)
    assert sorted(pair.relation for pair in found.pairs) == ["different", "only first"]
    paired = next(pair for pair in found.pairs if pair.second is not None)
    assert paired.first is not None
    assert paired.first.duration_s is not None
    assert paired.first.duration_s > 0.06, "the longer of the two"


def test_records_that_no_worker_could_classify_are_counted_and_other_topics_passed_over(tmp_path: Path) -> None:
    extra = [
        RecordedMessage("sensor-windows", 0, 900, 0, b"a", b"\xc1 poison"),
        RecordedMessage("sensor-windows", 0, 901, 0, b"a", None),
        RecordedMessage("faults.lg", 0, 0, 0, b"a", b"{}"),
    ]
    found = compared(recording(tmp_path, {"a": QUIET}, extra), MarkedClassifier())
    assert found.not_judged == {"bad-bytes": 1, "tombstone": 1}
    assert found.agree
    assert found.pairs == ()


def test_a_recording_without_windows_and_models_of_other_windows_are_clear_errors(tmp_path: Path) -> None:
    path = recording(tmp_path, {}, [RecordedMessage("sensor-windows", 0, 0, 0, b"a", b"\xc1 poison")])
    with pytest.raises(CompareError, match=r"the source has no window of spec 'line' \(1 bad-bytes\)"):
        compared(path, MarkedClassifier())
    with pytest.raises(CompareError, match="the models classify different windows"):
        compare(open_replay(path, SPEC), shipped("line"), _instant())


def _instant() -> Artefact:
    from tests.model.model_samples import artefact_of

    return artefact_of(load_spec("instant"))


# As users run it ------------------------------------------------------------------------------------------------------


def command(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "faultline", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("simulated") / "r.parquet"
    status, _, err = command("simulate", "--lines", "3", "--seconds", "5", "--out", str(path))
    assert status == 0, err
    return path


@pytest.mark.slow
def test_a_model_agrees_with_itself_and_the_exit_status_says_so(simulated: Path) -> None:
    status, out, err = command("replay", str(simulated), "--against", "line", "--and", "line", "--json")
    assert status == 0, err
    body = json.loads(out)
    assert body["agree"]
    assert body["pairs"]
    assert {pair["verdict"] for pair in body["pairs"]} == {"same"}
    assert body["models"][0] == body["models"][1] == shipped("line").model_id


@pytest.mark.slow
def test_a_model_that_disagrees_is_exit_status_3_and_is_explained(simulated: Path, tmp_path: Path) -> None:
    artefact = shipped("line")
    weights = {name: weight.copy() for name, weight in artefact.weights.items()}
    last = max((name for name in weights if weights[name].shape == (len(SPEC.classes),)), key=str)
    weights[last][SPEC.none_index] += 50
    manifest = artefact.manifest
    timid = Artefact.create(
        architecture=manifest.architecture,
        spec=manifest.spec,
        normalisation=manifest.normalisation,
        temperature=manifest.temperature,
        metrics=manifest.metrics,
        provenance=manifest.provenance,
        weights=weights,
    )
    timid.save(tmp_path / "timid.safetensors")
    arguments = ["replay", str(simulated), "--against", "line", "--and", str(tmp_path / "timid.safetensors")]
    status, out, err = command(*arguments)
    assert status == 3, err
    assert "the second model has no episode: its " in " ".join(out.split())
    assert "the models differ on" in out


def test_one_model_alone_is_a_clear_error() -> None:
    status, out, err = command("replay", "r.parquet", "--against", "line")
    assert (status, out) == (2, "")
    assert "--against and --and go together" in err
