"""Events: the contents that a subscriber reads."""

from __future__ import annotations

import json
from datetime import datetime

import numpy as np
import pytest

from domains.powerline.events import PowerLineFaultEvent
from faultline.testing import class_probabilities
from model.spec import load_spec
from stream.contract import MAX_NS, FaultEvent, SourceRecord
from stream.detection.episodes import EpisodeStep
from stream.detection.events import fault_event, outgoing_events
from stream.settings import Settings
from tests.stream.doubles import RATE_HZ, START_NS

SPEC = load_spec("line")
SETTINGS = Settings(_env_file=None)
SOURCE = SourceRecord(topic="sensor-windows", partition=1, offset=2)
AG, AB = SPEC.class_index("AG"), SPEC.class_index("AB")


def step(**changes: object) -> EpisodeStep:
    fields = {
        "line": "feeder-1",
        "state": "onset",
        "episode_id": "e",
        "fault_class": AG,
        "previous_class": None,
        "probabilities": class_probabilities([AG], SPEC)[0].astype(np.float64),
        "inception_ns": START_NS,
        "detection_ns": START_NS + 123_456_789,
        "cleared_ns": None,
        "sequence": 3,
        "start_ns": START_NS,
        "rate_hz": RATE_HZ,
        "quality": ("gap",),
    }
    return EpisodeStep(**{**fields, **changes})  # type: ignore[arg-type]


def event(**changes: object) -> FaultEvent:
    return fault_event(step(**changes), SPEC, "model-a", SOURCE)


def test_an_event_states_its_class_and_its_confidence() -> None:
    told = event()
    assert (told.fault_class, told.fault_type) == ("AG", "lg")
    assert told.confidence == pytest.approx(0.9)
    assert sum(told.probabilities.values()) == pytest.approx(1, abs=1e-4)
    assert told.quality == ["gap"]


def test_the_confidence_of_a_clear_is_that_there_is_no_fault() -> None:
    quiet = np.zeros(len(SPEC.classes))
    quiet[SPEC.none_index] = 1.0
    told = event(state="clear", probabilities=quiet, cleared_ns=START_NS + 100_000_000)
    assert (told.confidence, told.fault_class) == (1.0, "AG")
    assert told.duration_s == 0.1


def test_probabilities_that_round_past_one_are_still_valid() -> None:
    over = np.zeros(len(SPEC.classes))
    over[AG] = 1.0 + 1e-6
    assert event(probabilities=over).confidence == 1.0


def test_a_record_of_an_event_is_a_cloud_event_in_binary_mode() -> None:
    told = event()
    (out,) = outgoing_events(told, step(), SPEC, SETTINGS.topic_faults)
    headers = {name: value.decode() for name, value in out.headers}
    assert (out.topic, out.key) == ("faults.lg", b"feeder-1")
    assert PowerLineFaultEvent.model_validate_json(out.value or b"") == told
    assert headers["content-type"] == "application/json"
    assert headers["ce_specversion"] == "1.0"
    assert (headers["ce_id"], headers["ce_type"]) == (told.event_id, "faultline.fault.onset")
    assert headers["ce_subject"] == "feeder-1"
    assert datetime.fromisoformat(headers["ce_time"]).timestamp() == pytest.approx(
        (START_NS + 123_456_789) / 1e9, abs=1e-6
    )


def test_an_update_within_its_type_goes_to_one_topic() -> None:
    bg = SPEC.class_index("BG")
    changed = step(state="update", fault_class=bg, previous_class=AG)
    outs = outgoing_events(fault_event(changed, SPEC, "m", SOURCE), changed, SPEC, SETTINGS.topic_faults)
    assert [out.topic for out in outs] == ["faults.lg"]


def test_an_update_of_the_type_goes_to_both_topics_under_one_id() -> None:
    changed = step(state="update", fault_class=AB, previous_class=AG)
    outs = outgoing_events(fault_event(changed, SPEC, "m", SOURCE), changed, SPEC, SETTINGS.topic_faults)
    assert [out.topic for out in outs] == ["faults.ll", "faults.lg"]
    assert json.loads(outs[0].value or b"") == json.loads(outs[1].value or b"")


@pytest.mark.parametrize("time_ns", [0, MAX_NS])
def test_times_at_the_contracts_limits_can_be_printed(time_ns: int) -> None:
    extreme = step(detection_ns=time_ns)
    (out,) = outgoing_events(fault_event(extreme, SPEC, "m", SOURCE), extreme, SPEC, SETTINGS.topic_faults)
    assert dict(out.headers)["ce_time"].endswith(b"+00:00")
