"""Small records of the kinds that recorders really write, each with a known truth: see the README beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faultline.answers import FileResult
from faultline.file_detection import detect
from model.artefact import shipped
from model.engine import Engine

Answer = Callable[[str], FileResult]


@pytest.fixture(scope="module")
def answer(data_dir: Path) -> Iterator[Answer]:
    folder = data_dir.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"no small field records in {folder}")
    with Engine(shipped("line"), buckets=(128,)) as engine:

        def result_of(name: str) -> FileResult:
            (path,) = [path for path in folder.glob(f"{name}.*") if path.suffix in (".cfg", ".csv")]
            (result,) = detect([path], model=engine)
            assert result.error is None
            return result

        yield result_of


def episodes(result: FileResult) -> list[tuple[str, float, float | None]]:
    """Return class, inception in seconds and duration in ms of every episode."""
    return [
        (e.fault_class, e.inception_s, None if e.duration_s is None else 1000 * e.duration_s) for e in result.episodes
    ]


def assert_one(result: FileResult, classes: set[str], at_s: float, lasting_ms: float) -> None:
    (found,) = episodes(result)
    assert found[0] in classes
    assert found[1] == pytest.approx(at_s, abs=0.005)
    assert found[2] == pytest.approx(lasting_ms, abs=25)


def warnings(result: FileResult) -> list[str]:
    assert result.record is not None
    return [finding.code for finding in result.record.findings if finding.level == "warning"]


@pytest.mark.parametrize(
    ("name", "classes", "at_s", "lasting_ms"),
    [
        ("wrapped_times", {"AB"}, 0.7, 100),
        ("unit_of_two_sides", {"ABC", "ABCG"}, 0.2, 400),
        ("sequence_magnitudes", {"AG"}, 0.2, 100),
        ("direct_quantities", {"AG"}, 0.2, 100),
        ("numbered_names", {"AG"}, 0.2, 100),
        ("quoted_header", {"AG"}, 0.2, 100),
        ("one_live_bus", {"AG"}, 0.2, 100),
        ("delta_voltages", {"BG"}, 0.2, 100),
        ("third_from_residual", {"CG"}, 0.2, 100),
        ("four_a_cycle", {"AG"}, 0.2, 200),
    ],
)
def test_one_line_has_one_fault(answer: Answer, name: str, classes: set[str], at_s: float, lasting_ms: float) -> None:
    result = answer(name)
    assert len(result.answers) == 1
    assert_one(result, classes, at_s, lasting_ms)


def test_a_wrapped_counter_is_one_stretch(answer: Answer) -> None:
    result = answer("wrapped_times")
    assert result.record is not None
    (segment,) = result.record.segments
    assert len(segment) / segment.rate_hz == pytest.approx(1.5)
    assert len(warnings(result)) <= 1


def test_units_of_two_sides_are_voltages_in_use(answer: Answer) -> None:
    (found,) = answer("unit_of_two_sides").answers
    assert not found.line.missing


def test_every_set_of_currents_of_two_ends_has_the_fault(answer: Answer) -> None:
    result = answer("two_ends")
    assert [line.line.sources["ia"] for line in result.answers] == ["1 IBRA1", "4 IBRA2", "7 IBRA3"]
    for line in result.answers:
        ((fault_class, at_s),) = [(episode.fault_class, episode.inception_s) for episode in line.episodes]
        assert (fault_class, at_s) == ("AG", pytest.approx(0.2, abs=0.005))


def test_a_dead_bay_is_shown_and_not_judged(answer: Answer) -> None:
    result = answer("one_live_bus")
    assert result.record is not None
    assert sum("dead" in decision.reason for decision in result.record.decisions) == 6
    assert not warnings(result)


def test_balanced_currents_alone_are_a_three_phase_fault(answer: Answer) -> None:
    result = answer("balanced_currents_only")
    assert_one(result, {"ABC", "ABCG"}, 0.2, 600)
    assert "assumed-voltages" in warnings(result)
