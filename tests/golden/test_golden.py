"""Behaviour is unchanged: events, scores, reports, verdicts and the contract equal the stored values.

``capture`` defines how each value is measured; its seeds and sizes are those of the files in ``expected/``. Counts,
ids, texts and times must be equal, other numbers equal up to rounding.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.golden.capture import GOLDEN, differences, golden, plain

SHOWN = 20


def assert_as_before(name: str) -> None:
    """Measure again, and report the first differences."""
    found = list(differences(golden(name), plain(GOLDEN[name]())))
    assert not found, f"{name}: {len(found)} differences\n" + "\n".join(found[:SHOWN])


def test_the_contracts_documents_and_the_shipped_artefact_are_what_they_were() -> None:
    assert_as_before("contract")


def test_the_events_and_line_states_of_a_stream_are_what_they_were() -> None:
    assert_as_before("line_stream")


def test_the_events_of_instants_are_what_they_were() -> None:
    assert_as_before("instant_stream")


def test_the_episodes_of_a_file_are_what_they_were() -> None:
    assert_as_before("file_episodes")


def test_both_ways_of_scoring_events_give_their_former_scores() -> None:
    assert_as_before("scores")


@pytest.mark.slow
def test_the_scores_under_conditions_are_what_they_were() -> None:
    assert_as_before("robustness")


@pytest.mark.slow
def test_the_report_of_the_shipped_model_is_what_it_was() -> None:
    assert_as_before("report")


@pytest.mark.slow
def test_the_gate_decides_as_it_decided_and_for_the_same_reasons() -> None:
    assert_as_before("verdicts")


def test_what_is_compared_holds_something_to_compare() -> None:
    stream, scores, verdicts = golden("line_stream"), golden("scores"), golden("verdicts")
    assert Counter(event["state"] for event in stream["events"]) == {"onset": 7, "update": 2, "clear": 7}
    assert {letter["headers"]["faultline.error.reason"] for letter in stream["dead_letters"]} == {
        "bad-bytes",
        "bad-key",
        "not-finite",
        "tombstone",
    }
    assert all(stream["outcomes"][outcome] for outcome in ("judged", "late", "repeated", "unknown"))
    assert scores["disturbed"]["published"]["wrong"] > 0
    assert scores["disturbed"]["published"]["false_alarms"] > 0
    assert verdicts["shipped_beside_disturbed"]["passed"]
    assert not verdicts["disturbed_beside_shipped"]["passed"]


def test_a_difference_is_named_with_its_place_and_rounding_is_none() -> None:
    known = {"a": [1, 2.0], "b": "x"}
    assert list(differences(known, {"a": [1, 2.0000001], "b": "x"})) == []
    assert list(differences(known, {"a": [1, 2.1], "b": "x"})) == ["/a/1 is 2.1, not 2.0"]
    assert list(differences(known, {"a": [1], "c": "x"})) == ["/a has 1 entries, not 2", "/b is missing", "/c is new"]
    assert list(differences({"confidence": 0.5}, {"confidence": 0.50005})) == []
    assert list(differences(known, {"a": [True, 2.0], "b": "x"})) == ["/a/0 is True, not 1"]
