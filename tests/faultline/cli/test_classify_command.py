"""``faultline classify`` and ``inspect``: episodes and facts of records, without a broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from domains.powerline.waveforms import ReadOptions, RecordError, Statement, open_waveforms
from faultline.answers import FileResult
from faultline.cli import app
from faultline.cli.waveforms.classify import as_bodies, remarks
from faultline.file_detection import answer_line, detect
from model.engine import Engine
from tests.domains.powerline.waveforms.record_samples import Shape, healthy, load_waves, write_record

INCEPTION_S = 0.2


def faulty(folder: Path, shape: Shape | None = None, stem: str = "fault", until_s: float | None = None) -> Path:
    shape = shape or Shape(segments=((4800.0, 2400),))
    waves = load_waves(shape, fault_s=INCEPTION_S)
    if until_s is not None:
        cleared = shape.times() >= until_s
        waves[cleared] = load_waves(shape)[cleared]
    return write_record(folder, shape, waves, stem=stem).path


def only(results: Iterator[FileResult]) -> FileResult:
    (result,) = results
    return result


@pytest.fixture
def pnnl(data_dir: Path) -> Path:
    path = data_dir / "comtrade" / "pnnl-f1" / "f1_1b274run.cfg"
    if not path.is_file():
        pytest.skip(f"no {path}")
    return path


def true_inception_s(path: Path) -> float:
    """Return the time at which the record's FAULT channels change; their first 20 ms give the noise."""
    faults = {k: values for k, values in _raw(path).items() if k.startswith("FAULT")}
    assert len(faults) == 3
    begins = []
    for values in faults.values():
        quiet, highest = np.abs(values[:2000]).max(), np.abs(values).max()
        beyond = np.flatnonzero(np.abs(values) > quiet + 1e-4 * highest)
        begins += beyond[:1].tolist()
    return float(min(begins) / 100_000.0)


def _raw(path: Path) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    from domains.powerline.waveforms.formats.comtrade.files import read_comtrade

    raw = read_comtrade(path, ReadOptions())
    values = raw.source.read(range(len(raw.channels)))
    return {channel.name.split()[0]: row for channel, row in zip(raw.channels, values, strict=True)}


def test_the_pnnl_record_is_one_b_phase_to_ground_episode_at_its_true_time(pnnl: Path, engine: Engine) -> None:
    result = only(detect([pnnl], model=engine))
    assert result.error is None
    assert result.record is not None
    assert result.record.header_hz == 50.0
    assert result.record.frequency_hz == pytest.approx(60.0, abs=0.01)
    assert [(episode.fault_class, episode.classes) for episode in result.episodes] == [("BG", ["BG"])]
    (episode,) = result.episodes
    truth = true_inception_s(pnnl)
    assert episode.inception_s == pytest.approx(truth, abs=0.005)
    # The events are those of one episode, and none precedes the fault.
    (answer,) = result.answers
    assert [event.state for event in answer.events] == ["onset"]
    assert answer.events[0].detection_ns > answer.line.start_ns + truth * 1e9


def test_an_episode_has_its_times_and_ends(tmp_path: Path, engine: Engine) -> None:
    result = only(detect([faulty(tmp_path, until_s=0.35)], model=engine))
    assert [episode.fault_class for episode in result.episodes] == ["BG"]
    (episode,) = result.episodes
    assert episode.inception_s == pytest.approx(INCEPTION_S, abs=0.005)
    assert episode.duration_s == pytest.approx(0.15, abs=0.02)
    assert episode.inception_ns == result.answers[0].line.start_ns + round(episode.inception_s * 1e9)


def test_a_healthy_line_has_no_episode(tmp_path: Path, engine: Engine) -> None:
    assert only(detect([healthy(tmp_path, segments=((4800.0, 2400),)).path], model=engine)).episodes == ()


def test_the_same_record_in_another_format_gives_the_same_episode(tmp_path: Path, engine: Engine) -> None:
    shapes = {
        "binary": Shape(segments=((4800.0, 2400),)),
        "ascii": Shape(segments=((4800.0, 2400),), data_format="ASCII", revision="1991"),
        "float": Shape(segments=((4800.0, 2400),), data_format="FLOAT32", revision="2013", container="cff"),
        "untimed": Shape(segments=((4800.0, 2400),), rates="none"),
    }
    paths = [faulty(tmp_path / name, shape) for name, shape in shapes.items()]
    found = [result.episodes for result in detect(paths, model=engine)]
    assert {tuple(episode.fault_class for episode in episodes) for episodes in found} == {("BG",)}
    assert len({episodes[0].episode_id for episodes in found}) == 1


def test_a_gap_within_the_fault_is_a_flag_of_its_episode(tmp_path: Path, engine: Engine) -> None:
    shape = Shape(segments=((4800.0, 1440), (4800.0, 960)), gaps_s=(0.0, 0.02))
    (episode,) = only(detect([faulty(tmp_path, shape, until_s=0.4)], model=engine)).episodes
    assert episode.quality == ["gap"]
    assert episode.inception_s == pytest.approx(INCEPTION_S, abs=0.005)
    assert episode.duration_s == pytest.approx(0.2, abs=0.02)


def test_one_bad_file_fails_alone_and_results_keep_their_order(tmp_path: Path, engine: Engine) -> None:
    bad = healthy(tmp_path / "bad").path
    bad.write_text("nonsense")
    paths = [faulty(tmp_path, stem="a"), bad, tmp_path / "none.cfg", faulty(tmp_path, stem="b")]
    results = list(detect(paths, model=engine, jobs=3))
    assert [result.path for result in results] == paths
    assert [result.error is None for result in results] == [True, False, False, True]
    assert "line 1" in (results[1].error or "")


def test_an_uncertain_record_says_what_to_do(tmp_path: Path, engine: Engine) -> None:
    path = without_names(tmp_path)
    result = only(detect([path], model=engine))
    assert (result.error, result.verdict) == (None, "not judged")
    assert "--channels" in result.reason
    told = ReadOptions(channels="ia=1 ib=2 ic=3 va=P vb=Q vc=W")
    assert only(detect([path], model=engine, options=told)).verdict == "no fault"


def without_names(folder: Path, stem: str = "unnamed") -> Path:
    shape = Shape(names=("X", "Y", "Z", "P", "Q", "W"), phases=("",) * 6, units=("?",) * 6)
    return write_record(folder, shape, load_waves(shape), stem=stem).path


def short(folder: Path, stem: str = "short") -> Path:
    """Write a record of 15 ms, which is shorter than a cycle."""
    shape = Shape(segments=((4800.0, 72),))
    return write_record(folder, shape, load_waves(shape), stem=stem).path


def test_answers_hold_a_probability_for_every_window(tmp_path: Path, engine: Engine) -> None:
    record = open_waveforms(faulty(tmp_path))
    answer = answer_line(record, record.lines[0], engine, engine.spec)
    assert answer.probabilities.shape == (len(answer.window_end_s), 12)
    assert (np.diff(answer.window_end_s) > 0).all()
    assert answer.window_end_s[-1] < 0.5


def test_the_command_prints_a_table_and_draws(tmp_path: Path, command: CliRunner) -> None:
    path = faulty(tmp_path)
    result = command.invoke(app, ["classify", str(path), "--plot", str(tmp_path / "pictures")])
    assert result.exit_code == 0, result.output
    assert "BG" in result.output
    assert "windows/s" in result.output
    assert (tmp_path / "pictures" / "fault.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_a_line_with_a_long_name_can_be_written(tmp_path: Path, command: CliRunner) -> None:
    told = f"{'線' * 110}: ia=1 ib=2 ic=3 va=4 vb=5 vc=6; south: ia=1 ib=2 ic=3 va=4 vb=5 vc=6"
    pictures = tmp_path / "pictures"
    result = command.invoke(app, ["classify", str(faulty(tmp_path)), "--plot", str(pictures), "--channels", told])
    assert result.exit_code == 0, result.output
    assert len(list(pictures.iterdir())) == 2


def test_the_command_prints_json_lines_and_fails_for_a_bad_file(tmp_path: Path, command: CliRunner) -> None:
    good, bad = faulty(tmp_path), healthy(tmp_path / "bad").path
    bad.write_text("nonsense")
    result = command.invoke(app, ["classify", str(good), str(bad), "--json"])
    assert result.exit_code == 1
    (episode,) = [json.loads(row) for row in result.stdout.splitlines()]
    assert episode["fault_class"] == "BG"
    assert episode["file"] == str(good)
    assert "line 1" in result.stderr


def test_every_line_is_an_object_with_its_verdict(tmp_path: Path, command: CliRunner) -> None:
    files = [
        faulty(tmp_path),
        healthy(tmp_path, segments=((4800.0, 2400),)).path,
        short(tmp_path),
        without_names(tmp_path),
    ]
    result = command.invoke(app, ["classify", *map(str, files), "--json"])
    assert result.exit_code == 4, result.output
    bodies = [json.loads(row) for row in result.stdout.splitlines()]
    assert [(body["verdict"], body["line"], body["fault_class"]) for body in bodies] == [
        ("fault", "fault", "BG"),
        ("no fault", "record", None),
        ("not judged", "short", None),
        ("not judged", None, None),
    ]
    assert [body["file"] for body in bodies] == [str(path) for path in files]
    assert [body["judged_windows"] for body in bodies[1:]] == [97, 0, 0]
    assert bodies[2]["reason"] == "the record lasts 14.8 ms, too short for a window of 20 ms: give a longer record"
    assert "--channels" in bodies[3]["reason"]
    assert "4 files (2 not judged), 1 episode" in result.stderr


def test_a_line_that_was_not_judged_beside_a_fault_has_an_exit_status(tmp_path: Path, command: CliRunner) -> None:
    told = "north: ia=1 ib=2 ic=3 va=4 vb=5 vc=6; south: va=4 vb=5 vc=6"
    result = command.invoke(app, ["classify", str(faulty(tmp_path)), "--json", "--channels", told])
    assert result.exit_code == 4, result.output
    bodies = [json.loads(row) for row in result.stdout.splitlines()]
    assert [(body["verdict"], body["line"]) for body in bodies] == [
        ("fault", "fault/north"),
        ("not judged", "fault/south"),
    ]


def test_the_table_shows_what_was_not_judged_and_why(tmp_path: Path, command: CliRunner) -> None:
    shape = Shape(segments=((4800.0, 960), (100.0, 300)))
    partly = write_record(tmp_path, shape, load_waves(shape), stem="partly").path
    files = [short(tmp_path), without_names(tmp_path), partly, tmp_path / "none.cfg"]
    result = command.invoke(app, ["classify", *map(str, files), "--quiet"])
    # A file that cannot be read decides the exit status.
    assert result.exit_code == 1
    table, below = result.stdout.split("┘\n")
    assert table.count("not judged") == 2
    assert table.count("no fault in the part that was judged") == table.count("no fault") == 1
    assert table.count("cannot be read") == 1
    first, second, third = below.splitlines()
    assert first == (
        "short.cfg: short: not judged: the record lasts 14.8 ms, too short for a window of 20 ms: give a longer record"
    )
    assert second.startswith("unnamed.cfg: not judged: ")
    assert third == "partly.cfg: partly: 0.210 s to 3.200 s was not judged: it has too few samples per cycle"
    (error,) = result.stderr.splitlines()
    assert error.startswith(f"faultline: {files[3]}: no such file")


def test_what_the_recorder_says_is_shown_beside_the_answer(tmp_path: Path, engine: Engine) -> None:
    said = (Statement("fault.hdr", "Fault type:\r\n  BG,\x1b 12.3 km"),)
    result = only(detect([faulty(tmp_path)], model=engine))
    assert result.record is not None
    result = replace(result, record=replace(result.record, statements=said))
    (body,) = as_bodies(result)
    assert body["recorder_says"] == [{"source": "fault.hdr", "text": said[0].text}]
    assert list(remarks(result)) == ["fault.cfg: the recorder says (fault.hdr): Fault type: BG, 12.3 km"]


def test_inspect_shows_facts_findings_and_a_picture(tmp_path: Path, command: CliRunner) -> None:
    path = healthy(tmp_path, frequency_hz=60.0).path
    picture = tmp_path / "out.png"
    result = command.invoke(app, ["inspect", str(path), "--plot", str(picture)])
    assert result.exit_code == 0, result.output
    assert "the header states 50 Hz, the signal has 60" in result.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    body = json.loads(command.invoke(app, ["inspect", str(path), "--json"]).stdout)
    assert [channel["role"] for channel in body["channels"]][:3] == ["line 1/ia", "line 1/ib", "line 1/ic"]
    assert body["frequency_hz"] == pytest.approx(60, abs=0.05)


def test_options_out_of_range_are_one_line(tmp_path: Path, command: CliRunner) -> None:
    result = command.invoke(app, ["inspect", str(healthy(tmp_path).path), "--frequency", "5000"])
    assert isinstance(result.exception, RecordError)
    assert str(result.exception).startswith("--frequency: ")
