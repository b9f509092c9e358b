"""Folders, archives and event reports given to ``detect``, ``classify`` and ``inspect``."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from faultline.cli import app
from faultline.file_detection import detect
from model.engine import Engine
from tests.domains.powerline.waveforms.formats.sel_samples import SEL_351, Relay, compressed, plain_text
from tests.domains.powerline.waveforms.record_samples import Shape, load_waves, write_record

REPORT = replace(SEL_351, per_cycle=16, cycles=30, trigger_cycle=12)


def faulty(folder: Path) -> Path:
    shape = Shape(segments=((4800.0, 2400),))
    return write_record(folder, shape, load_waves(shape, fault_s=0.2)).path


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    """Return a folder with a record, and an archive with the same record and an event report."""
    folder = tmp_path / "batch"
    path = faulty(folder / "mon")
    with zipfile.ZipFile(folder / "tue.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for suffix in (".cfg", ".dat"):
            archive.write(path.with_suffix(suffix), f"bay 4/r{suffix}")
        archive.writestr("C8_10001.TXT", compressed(REPORT)[0])
    (folder / "notes.txt").write_text("nothing to read\n")
    return folder


def test_every_record_of_a_folder_and_its_archives_has_a_result(batch: Path, engine: Engine) -> None:
    results = list(detect([batch], model=engine))
    names = [str(result.path.relative_to(batch)) for result in results]
    assert names == ["mon/record.cfg", "tue.zip/bay 4/r.cfg", "tue.zip/C8_10001.TXT"]
    assert [episode.fault_class for result in results for episode in result.episodes] == ["BG", "BG", "AG"]


@pytest.mark.parametrize("form", ["compressed", "plain"])
@pytest.mark.parametrize("relay", [REPORT, replace(REPORT, per_cycle=32, scaled=False)], ids=["16", "32"])
def test_the_fault_of_an_event_report_begins_at_its_trigger(
    tmp_path: Path, engine: Engine, relay: Relay, form: str
) -> None:
    path = tmp_path / "event.txt"
    path.write_bytes(compressed(relay)[0] if form == "compressed" else plain_text(relay))
    (result,) = detect([path], model=engine)
    (episode,) = result.episodes
    assert episode.fault_class == "AG"
    assert episode.inception_ns == pytest.approx(relay.trigger_ns, abs=5_000_000)


def test_inspect_shows_each_record_and_what_its_recorder_says(batch: Path, command: CliRunner) -> None:
    (batch / "mon" / "record.hdr").write_text("Fault type: [B]-G\n")
    shown = command.invoke(app, ["inspect", str(batch)])
    assert shown.exit_code == 0
    assert "the recorder says (record.hdr): Fault type: [B]-G" in shown.stdout
    assert "the recorder says (EVENT): AG T" in shown.stdout
    bodies = [json.loads(line) for line in command.invoke(app, ["inspect", "--json", str(batch)]).stdout.splitlines()]
    assert [Path(body["file"]).name for body in bodies] == ["record.cfg", "r.cfg", "C8_10001.TXT"]
    assert bodies[0]["statements"] == [{"source": "record.hdr", "text": "Fault type: [B]-G"}]


def test_a_folder_without_a_record_is_one_error(tmp_path: Path, command: CliRunner) -> None:
    (tmp_path / "notes.pdf").write_bytes(b"%PDF")
    result = command.invoke(app, ["inspect", str(tmp_path)])
    assert result.exit_code == 1
    assert "holds no record that can be read, only notes.pdf" in result.stderr
