"""A domain without mains trains, reports and detects by the same generic code as power lines."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from faultline_machines.signal import BEARING, IMBALANCE, NORMAL, labelled_windows, vibration

from faultline.cli.streaming.subscribe import event_line
from model.artefact import Artefact
from model.engine import Engine
from model.spec import SignalSpec
from stream.detection.decode import WindowRecord
from stream.detection.events import decode_event
from stream.detection.offline import Detector
from stream.kafka.embedded import EmbeddedBroker
from stream.windowing import window_messages
from tests.domains.toy.conftest import Command
from training.errors import TrainingError
from training.metrics import window_scores

POWER_LINES = re.compile(r"phase|\bground|cycle|\bmains|voltage|classData", re.IGNORECASE)
"""Words that must not appear in texts about machines."""


def test_it_trains_and_classifies_machines_unseen_in_training(spec: SignalSpec, artefact: Artefact) -> None:
    fresh = labelled_windows(spec, seed=77, machines=300)
    with Engine(artefact) as engine:
        scores = window_scores(fresh.labels, engine.classify(fresh.data).argmax(axis=1), spec)
    held_out = artefact.manifest.metrics["test"]["macro_f1"]  # type: ignore[index, call-overload]
    print(f"macro-F1 {held_out} on machines held out, {scores['macro_f1']:.4f} on {len(fresh)} windows of others")
    assert held_out >= 0.95  # type: ignore[operator]
    assert scores["macro_f1"] >= 0.95


def test_its_report_passes_the_gate_and_says_nothing_of_power_lines(
    model: Path, artefact: Artefact, command: Command, tmp_path: Path
) -> None:
    said = command("report", "--model", model, "--out", tmp_path, "--strict")
    assert "gate passed: 2 of 2" in said
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["identity"]["model_id"] == artefact.model_id
    assert report["classification"]["scores"]["macro_f1"] >= 0.95
    assert report["events"] is report["conditions"] is report["rejection"] is None
    assert report["verdict"]["passed"]
    for page in ("report.md", "report.html"):
        text = (tmp_path / page).read_text()
        assert "64 ms at 1000 samples a second" in text
        assert POWER_LINES.findall(text) == [], page


def test_it_has_no_conditions_to_be_scored_under(model: Path, command: Command) -> None:
    with pytest.raises(TrainingError, match="the recipe for spec 'machine' has no conditions"):
        command("robustness", model)


def test_topics_rights_and_doctor_follow_its_fault_types(
    spec: SignalSpec, command: Command, embedded_broker: EmbeddedBroker, model: Path
) -> None:
    there = ("--spec", "machine", "--broker", embedded_broker.bootstrap)
    said = command("topics", "check", *there)
    assert re.findall(r"faults\.\S+(?=:)", said) == ["faults.imbalance", "faults.bearing"]
    assert "faults.lg" not in command("access", "show", FAULTLINE_SPEC="machine")
    found = json.loads(command("doctor", "--quick", "--json", *there, exit_code=1))["lines"]
    failed = [line for line in found if line["level"] == "fail"]
    assert [line["area"] for line in failed] == ["models"], "no model ships for the spec, and there is no champion yet"
    command("models", "promote", model, *there[2:], FAULTLINE_SPEC="machine")
    assert json.loads(command("doctor", "--quick", "--json", *there))["ok"]


def test_the_offline_detector_finds_the_faults_of_a_machine(spec: SignalSpec, artefact: Artefact) -> None:
    rng = np.random.default_rng(5)
    samples, _ = vibration([NORMAL, IMBALANCE, NORMAL, BEARING, NORMAL], 1.0, spec, rng)
    records = [
        WindowRecord("sensor-windows", 0, offset, message.end_ns // 1_000_000, b"pump-1", message.value)
        for offset, message in enumerate(
            window_messages("pump-1", samples, spec, rate_hz=spec.rate_hz, start_ns=1_700_000_000_000_000_000)
        )
    ]
    with Engine(artefact) as engine:
        events = Detector(engine, spec).process(records).events
    assert [(event.fault_type, event.state) for event in events] == [
        ("imbalance", "onset"),
        ("imbalance", "clear"),
        ("bearing", "onset"),
        ("bearing", "clear"),
    ]
    assert [event.model_dump()["part"] for event in events] == ["rotor", "rotor", "bearing", "bearing"]
    assert all(decode_event(event.model_dump_json().encode()) == event for event in events)
    onset, clear = (event_line(event).plain for event in events[:2])
    assert re.search(r"pump-1 +onset +imbalance +of the rotor +\d+\.\d%", onset)
    assert re.search(r"pump-1 +clear +imbalance +of the rotor +lasted \d+ ms", clear)
    assert not POWER_LINES.search(onset + clear)
    seconds = [(event.inception_ns - 1_700_000_000_000_000_000) / 1e9 for event in events[::2]]
    assert seconds == pytest.approx([1.0, 3.0], abs=spec.samples / spec.rate_hz)


def test_the_program_of_the_example_prints_the_faults_of_a_pump(spec: SignalSpec, model: Path) -> None:
    command = [sys.executable, "-m", "faultline_machines.detect", str(model)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^pump-1 (onset|clear) (\w+) (of the \w+) at [1-4]\.\d\d s$", printed, re.MULTILINE) == [
        ("onset", "imbalance", "of the rotor"),
        ("clear", "imbalance", "of the rotor"),
        ("onset", "bearing", "of the bearing"),
        ("clear", "bearing", "of the bearing"),
    ]
