"""Events and labelled records: the data that a domain passes to training, with a simulator or without."""

from __future__ import annotations

import numpy as np

from domains.powerline.simulator.episodes import ScenarioMix, simulate
from domains.powerline.simulator.events import PlannedEvent
from domains.powerline.simulator.solver import Command
from model.spec import load_spec
from training.data.episodes import Episodes, Event
from training.data.windows import EVENTFUL_SHARE, QUIET_SHARE, UNDERWAY_SHARE, interest, window_ends

SPEC = load_spec("line")


def quiet_records(*events: tuple[Event, ...]) -> Episodes:
    """Return records of 30 window lengths without a fault, with the given ``events``."""
    n, length = len(events), 30 * SPEC.samples
    return Episodes(
        np.zeros((n, length, len(SPEC.channels)), np.float32),
        np.zeros((n, length), np.int8),
        np.ones((n, length), bool),
        events,
        tuple({} for _ in events),
    )


def test_an_event_changes_where_it_begins_and_ends_and_at_each_of_its_stages() -> None:
    event = Event("fault", 10, 50, ((10, "AG"), (30, "ABG")))
    assert event.classes == ("AG", "ABG")
    assert set(event.moments) == {10, 30, 50}
    assert Event("sag", 3, 9).classes == ()


def test_a_planned_event_changes_where_something_is_switched() -> None:
    planned = PlannedEvent("fault", 10, 50, ((10, "AG"),), commands=(Command(10, "fault"), Command(40, "extinguish")))
    assert set(planned.moments) == {10, 40, 50}
    for events in simulate(20, seed=1, mix=ScenarioMix(fault_share=1.0)).events:
        for event in events:
            assert isinstance(event, PlannedEvent)
            assert {event.start, event.stop, *(command.sample for command in event.commands)} == set(event.moments)


def test_windows_are_of_interest_after_a_change_and_while_something_happens() -> None:
    start, stop = 10 * SPEC.samples, 20 * SPEC.samples
    share = interest(quiet_records((Event("sag", start, stop),), ()), SPEC)
    ends = window_ends(30 * SPEC.samples, SPEC)
    assert set(share[1]) == {np.float32(QUIET_SHARE)}
    after = int(1.75 * SPEC.samples)
    for moment in (start, stop):
        assert set(share[0][(ends >= moment) & (ends < moment + after)]) == {np.float32(EVENTFUL_SHARE)}
    assert set(share[0][(ends >= start + after) & (ends < stop)]) == {np.float32(UNDERWAY_SHARE)}
    assert set(share[0][ends < start]) == {np.float32(QUIET_SHARE)}


def test_joined_records_keep_their_order() -> None:
    one, other = quiet_records((Event("sag", 1, 2),)), quiet_records((), (Event("swing", 3, 4),))
    joined = Episodes.joined([one, other])
    assert len(joined) == 3
    assert [[event.kind for event in events] for events in joined.events] == [["sag"], [], ["swing"]]
    assert joined.samples.shape == (3, 30 * SPEC.samples, len(SPEC.channels))
