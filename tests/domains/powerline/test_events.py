"""Events of power lines: their JSON on the wire, and their phases, ground and cycles."""

from __future__ import annotations

import numpy as np
import pytest

from domains.powerline.events import PowerLineFaultEvent
from faultline.testing import class_probabilities
from model.spec import SignalSpec, load_spec
from stream.contract import SourceRecord
from stream.detection.episodes import EpisodeStep
from stream.detection.events import decode_event, fault_event, outgoing_events
from stream.settings import Settings

SPEC = load_spec("line")
SETTINGS = Settings(_env_file=None)
ABG = SPEC.class_index("ABG")
PROBABILITIES = np.where(np.arange(12) == ABG, 0.89, 0.01)
INCEPTION_NS = 1_700_000_000_000_000_000
CLEARED_NS = INCEPTION_NS + 103_000_000
SOURCE = SourceRecord(topic="sensor-windows", partition=1, offset=2)
# Event as written by a worker of commit 10f72e6.
ON_THE_WIRE = (
    '{"event_id":"d7e9cc4293ac034d2038e59b175a48d8","episode_id":"e","line":"feeder-1","state":"clear",'
    '"fault_class":"ABG","fault_type":"llg","phases":"AB","ground":true,"ground_probability":0.95,"confidence":0.01,'
    '"probabilities":{"none":0.01,"AG":0.01,"BG":0.01,"CG":0.01,"AB":0.01,"BC":0.01,"CA":0.01,"ABG":0.89,"BCG":0.01,'
    '"CAG":0.01,"ABC":0.01,"ABCG":0.01},"inception_ns":1700000000000000000,"detection_ns":1700000000123456789,'
    '"duration_s":0.103,"duration_cycles":5.15,"quality":["gap"],"spec":"line","model_id":"model-a","sequence":3,'
    '"source":{"topic":"sensor-windows","partition":1,"offset":2}}'
)


def step(**changes: object) -> EpisodeStep:
    fields = {
        "line": "feeder-1",
        "state": "onset",
        "episode_id": "e",
        "fault_class": ABG,
        "previous_class": None,
        "probabilities": PROBABILITIES,
        "inception_ns": INCEPTION_NS,
        "detection_ns": INCEPTION_NS + 123_456_789,
        "cleared_ns": None,
        "sequence": 3,
        "start_ns": INCEPTION_NS,
        "rate_hz": 1600.0,
        "quality": ("gap",),
    }
    return EpisodeStep(**{**fields, **changes})  # type: ignore[arg-type]


def event(spec: SignalSpec = SPEC, **changes: object) -> PowerLineFaultEvent:
    made = fault_event(step(**changes), spec, "model-a", SOURCE)
    assert isinstance(made, PowerLineFaultEvent)
    return made


def test_the_json_of_an_event_is_that_from_before_domains_to_the_byte() -> None:
    assert event(state="clear", cleared_ns=CLEARED_NS).model_dump_json() == ON_THE_WIRE


def test_an_event_of_a_power_line_is_decoded_with_its_phases() -> None:
    found = decode_event(ON_THE_WIRE.encode())
    assert found == event(state="clear", cleared_ns=CLEARED_NS)
    assert isinstance(found, PowerLineFaultEvent)


def test_an_event_says_which_phases_and_how_likely_ground_is_involved() -> None:
    made = event(
        fault_class=SPEC.class_index("AG"), probabilities=class_probabilities([SPEC.class_index("AG")], SPEC)[0]
    )
    assert (made.fault_class, made.fault_type, made.phases, made.ground) == ("AG", "lg", "A", True)
    assert made.ground_probability == pytest.approx(0.9 + 6 * 0.1 / 11, abs=1e-5)


def test_a_clear_says_how_many_cycles_the_fault_lasted() -> None:
    clear = event(state="clear", cleared_ns=INCEPTION_NS + 100_000_000)
    assert (clear.duration_s, clear.duration_cycles) == (0.1, 5.0)


def test_probabilities_that_round_past_one_are_still_a_valid_ground_probability() -> None:
    over = np.where(np.arange(12) == ABG, 1.0 + 1e-6, 0.0)
    assert event(probabilities=over).ground_probability == 1.0


@pytest.mark.parametrize(
    ("fault_class", "meaning"), [("ABG", "phases AB to ground"), ("CA", "phases CA"), ("AG", "phases A to ground")]
)
def test_an_event_tells_people_its_phases(fault_class: str, meaning: str) -> None:
    assert event(fault_class=SPEC.class_index(fault_class)).meaning() == meaning


def test_a_class_that_does_not_tell_its_phases_says_so() -> None:
    made = event(load_spec("instant"), fault_class=1, probabilities=np.full(7, 0.1))
    assert (made.phases, made.meaning()) == ("", "phases ? to ground")


def test_the_duration_is_given_in_ms_and_cycles_and_yields_the_lines_own_rate() -> None:
    clear = event(state="clear", cleared_ns=CLEARED_NS, rate_hz=1920.0)
    assert clear.duration() == "103 ms, 6.2 cycles"
    assert clear.sampling_hz(SPEC) == pytest.approx(1920, rel=1e-3)
    assert event().sampling_hz(SPEC) == SPEC.rate_hz


def test_events_of_the_type_unknown_have_a_topic_where_the_spec_has_such_a_class() -> None:
    fields = SPEC.model_dump()
    fields["classes"] = [*fields["classes"], {"name": "odd", "type": "unknown", "phases": "AB"}]
    spec = SignalSpec.model_validate(fields)
    changed = step(state="update", fault_class=12, previous_class=ABG, probabilities=np.full(13, 1 / 13))
    made = fault_event(changed, spec, "model-a", SOURCE)
    assert (made.fault_class, made.fault_type) == ("odd", "unknown")
    assert [out.topic for out in outgoing_events(made, changed, spec, SETTINGS.topic_faults)] == [
        "faults.unknown",
        "faults.llg",
    ]
