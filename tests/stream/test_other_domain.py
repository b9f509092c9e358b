"""The stream of another kind of signal: windows of bearings become events of their own, on topics of their types."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from model.errors import SpecError
from model.spec import SignalSpec, load_spec
from stream.contract import FaultEvent, SourceRecord
from stream.detection import events
from stream.detection.decode import LineWindows
from stream.detection.episodes import EpisodeStep, EpisodeTracker
from stream.detection.events import decode_event, event_models, fault_event, outgoing_events
from stream.errors import RecordingError, SettingsError
from stream.kafka.acls import grants
from stream.kafka.topics import topic_specs
from stream.recordings.sources import SourceOptions, open_replay
from stream.settings import load_settings
from stream.subscribe import fault_topics
from tests.model.installed_domain import installed
from tests.stream.doubles import START_NS, record, track
from training.sidecar.drift.features import drift_features, watched_features

MS = 1_000_000
SOURCE = SourceRecord(topic="sensor-windows", partition=0, offset=0)
INNER, OUTER, ODD = 1, 2, 3


@pytest.fixture
def motor(tmp_path: Path) -> Iterator[SignalSpec]:
    with installed(tmp_path):
        yield load_spec("motor")


def steps_of(motor: SignalSpec, classes: list[int]) -> list[EpisodeStep]:
    """Return a tracker's steps for windows of these classes, whose loudest sample is the tenth."""
    windows = np.zeros((len(classes), *motor.window_shape), np.float32)
    windows[:, 10] = 1.0
    probabilities = np.full((len(classes), 4), 0.01, np.float32)
    probabilities[np.arange(len(classes)), classes] = 0.97
    entry = LineWindows(
        record=record(b"motor-1", b""),
        line="motor-1",
        sequence=0,
        start_ns=START_NS,
        rate_hz=1000.0,
        first=0,
        count=len(classes),
        labels=None,
    )
    return track(EpisodeTracker(motor), None, entry, windows, probabilities).steps


def events_of(motor: SignalSpec, classes: list[int]) -> list[FaultEvent]:
    return [fault_event(step, motor, "model-a", SOURCE) for step in steps_of(motor, classes)]


def test_the_domain_tells_where_a_fault_began_and_what_is_wrong_with_the_window(motor: SignalSpec) -> None:
    (onset,) = events_of(motor, [INNER] * 3)
    assert onset.inception_ns == START_NS + 10 * MS
    assert onset.quality == ["saturation"]


def test_a_change_between_equivalent_classes_is_no_update_and_any_other_is(motor: SignalSpec) -> None:
    assert [event.state for event in events_of(motor, [INNER] * 3 + [OUTER] * 3)] == ["onset"]
    onset, update = events_of(motor, [INNER] * 3 + [ODD] * 3)
    assert (onset.fault_type, update.fault_type) == ("inner-ring", "unknown")


def test_an_event_has_the_domains_own_fields_and_none_of_power_lines(motor: SignalSpec) -> None:
    (onset,) = events_of(motor, [INNER] * 3)
    assert onset.model_dump()["peak_sample"] == 7
    assert "phases" not in onset.model_dump_json()
    found = decode_event(onset.model_dump_json().encode())
    assert found == onset
    assert type(found).__name__ == "BearingEvent"


def test_an_event_of_a_domain_that_is_not_installed_is_read_as_far_as_all_events_agree(motor: SignalSpec) -> None:
    (onset,) = events_of(motor, [INNER] * 3)
    fields = {name: value for name, value in onset.model_dump(mode="json").items() if name != "peak_sample"}
    text = FaultEvent.model_validate(fields).model_dump_json()
    found = decode_event(text.replace("{", '{"colour":"blue",', 1).encode())
    assert type(found) is FaultEvent
    assert (found.meaning(), found.duration(), found.sampling_hz(motor)) == ("", "0 ms", 1000.0)


def test_an_event_is_read_as_of_the_domain_of_whose_fields_it_has_most(
    motor: SignalSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Undemanding(FaultEvent):
        colour: str | None = None

    monkeypatch.setattr(events, "event_models", lambda: (Undemanding, *event_models()))
    (onset,) = events_of(motor, [INNER] * 3)
    assert type(decode_event(onset.model_dump_json().encode())) is type(onset)
    fields = {name: value for name, value in onset.model_dump(mode="json").items() if name != "peak_sample"}
    plain, own = FaultEvent.model_validate(fields), Undemanding.model_validate(fields)
    assert type(decode_event(plain.model_dump_json().encode())) is FaultEvent
    assert decode_event(own.model_dump_json().encode()) == own


def test_topics_and_rights_follow_the_types_of_the_spec(motor: SignalSpec, tmp_path: Path) -> None:
    settings = load_settings(spec=str(tmp_path / "motor.toml"))
    assert settings.fault_topics == ("faults.inner-ring", "faults.outer-ring", "faults.unknown")
    assert set(settings.fault_topics) <= {spec.name for spec in topic_specs(settings)}
    written = {grant.name for grant in grants(settings) if grant.role == "worker" and "Write" in grant.operations}
    assert set(settings.fault_topics) <= written
    assert "faults.lg" not in written
    assert fault_topics(settings, ["unknown"]) == {"faults.unknown"}
    with pytest.raises(SettingsError, match="no fault type lg; there are inner-ring, outer-ring, unknown"):
        fault_topics(settings, ["lg"])


def test_a_topic_of_ours_cannot_be_that_of_a_type(motor: SignalSpec) -> None:
    load_settings(topic_models="faults.inner-ring")
    with pytest.raises(SettingsError, match=r"both name the topic faults\.inner-ring"):
        load_settings(spec="motor", topic_models="faults.inner-ring")


def test_settings_with_a_spec_that_does_not_exist_are_settings_until_it_is_needed() -> None:
    settings = load_settings(spec="nowhere")
    assert fault_topics(settings, []) is None
    with pytest.raises(SpecError, match="no signal spec 'nowhere'"):
        _ = settings.fault_topics


def test_the_type_unknown_is_published_where_the_spec_has_it(motor: SignalSpec) -> None:
    (step,) = steps_of(motor, [ODD] * 3)
    event = fault_event(step, motor, "model-a", SOURCE)
    settings = load_settings(spec="motor")
    (out,) = outgoing_events(event, step, motor, settings.topic_faults)
    assert out.topic == "faults.unknown"
    assert out.topic in settings.fault_topics


def test_a_file_of_power_lines_is_nothing_that_another_domain_replays(motor: SignalSpec, tmp_path: Path) -> None:
    table = tmp_path / "record.csv"
    table.write_text("time,ia,ib,ic,va,vb,vc\n0.0,1,1,1,1,1,1\n")
    with pytest.raises(RecordingError, match=r"supported kinds of file are: Parquet recording$"):
        open_replay(table, motor, SourceOptions())


def test_drift_watches_the_domains_features_and_those_of_every_model(motor: SignalSpec) -> None:
    windows = np.ones((2, *motor.window_shape), np.float32)
    probabilities = np.array([[0.9, 0.1, 0.0, 0.0], [0.1, 0.9, 0.0, 0.0]], np.float32)
    names = [feature.name for feature in watched_features(motor)]
    assert names[0] == "level"
    assert len(names) == 4
    found = drift_features(windows, probabilities, motor)
    np.testing.assert_allclose(found, [[1.0, np.nan, 0.0, 0.1], [np.nan, np.nan, 1.0, np.nan]], rtol=1e-6)
