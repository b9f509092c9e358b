"""The contract's models and ids."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stream.contract import WindowMessage, event_id

TEXT = st.text(max_size=6)
IDS = st.tuples(TEXT, st.sampled_from(["line", "instant"]), st.sampled_from(["onset", "update", "clear"]))
NUMBERS = st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))


@given(st.tuples(IDS, NUMBERS), st.tuples(IDS, NUMBERS))
def test_ids_are_equal_exactly_when_all_they_are_made_of_is(a: Any, b: Any) -> None:
    assert (event_id(*a[0], *a[1]) == event_id(*b[0], *b[1])) == (a == b)


def test_an_id_never_changes_between_releases() -> None:
    # Subscribers deduplicate stored events by it.
    assert event_id("feeder-1", "line", "onset", 7, 1_000) == "0af59c68858e277d45d9f501d33ee242"


GOOD = {"spec": "line", "sequence": 0, "start_ns": 0, "rate_hz": 1600.0, "count": 1, "data": b"x"}


def test_a_gateway_may_add_fields() -> None:
    assert not hasattr(WindowMessage.model_validate({**GOOD, "gateway": "g"}), "gateway")


@pytest.mark.parametrize(
    "wrong",
    [
        {"sequence": -1},
        {"start_ns": 2**63},
        {"rate_hz": 0.0},
        {"rate_hz": float("nan")},
        {"rate_hz": float("inf")},
        {"count": 0},
        {"data": []},
    ],
    ids=str,
)
def test_a_message_out_of_bounds_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WindowMessage.model_validate({**GOOD, **wrong})
