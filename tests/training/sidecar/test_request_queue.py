"""One retraining at a time; what arrives meanwhile is merged; what is repeated is served once."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from stream.contract import RetrainOptions, RetrainReason, RetrainRequest
from training.sidecar.requests.queue import REMEMBERED, Desk, merged_options

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def request(name: str, reason: RetrainReason = "demand", **options: int) -> RetrainRequest:
    return RetrainRequest(
        request_id=name, spec="line", reason=reason, by="test", at=NOW, options=RetrainOptions(**options)
    )


def running(name: str = "first") -> Desk:
    desk, _, answer = Desk().receive(request(name), "run-1")
    assert answer == "next"
    return desk.begin()


def test_the_first_request_runs_next() -> None:
    desk = running()
    assert desk.running is not None
    assert (desk.running.run_id, desk.running.request_ids, desk.waiting) == ("run-1", ["first"], None)


def test_requests_that_arrive_meanwhile_are_merged_into_one_follow_up() -> None:
    desk = running()
    desk, run, answer = desk.receive(request("second", epochs=3, seed=1), "run-2")
    assert run is not None
    assert (run.run_id, answer) == ("run-2", "merged")
    desk, run, answer = desk.receive(request("third", "drift", epochs=5), "run-3")
    assert run is not None
    assert (run.run_id, run.request_ids, answer) == ("run-2", ["second", "third"], "merged")
    assert run.options == RetrainOptions(epochs=5, seed=1)
    assert run.reason == "demand"
    assert desk.begin() == desk, "one at a time"
    desk = desk.finish().begin()
    assert desk.running == run
    assert desk.waiting is None


def test_a_scheduled_request_is_served_by_the_retraining_under_way() -> None:
    desk, run, answer = running().receive(request("due", "schedule"), "run-2")
    assert run is not None
    assert (run.run_id, run.request_ids, run.reason, answer) == ("run-1", ["first", "due"], "demand", "merged")
    assert desk.waiting is None


def test_a_request_that_waits_for_the_first_to_begin_is_merged_with_it() -> None:
    desk, _, _ = Desk().receive(request("first"), "run-1")
    desk, run, answer = desk.receive(request("second"), "run-2")
    assert run is not None
    assert (run.run_id, run.request_ids, answer) == ("run-1", ["first", "second"], "merged")


def test_a_repeated_request_changes_nothing_also_after_it_was_served() -> None:
    desk = running().finish()
    again, run, answer = desk.receive(request("first"), "run-2")
    assert (again, run, answer) == (desk, None, "known")


def test_a_desk_is_read_as_it_was_written() -> None:
    desk, _, _ = running().receive(request("second", epochs=2), "run-2")
    assert Desk.model_validate_json(desk.model_dump_json()) == desk


def test_the_latest_value_of_every_option_counts() -> None:
    assert merged_options([]) == RetrainOptions()
    several = [RetrainOptions(epochs=3, seed=1), RetrainOptions(episodes=200), RetrainOptions(epochs=5)]
    assert merged_options(several) == RetrainOptions(epochs=5, episodes=200, seed=1)


@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from(["demand", "drift", "schedule", "end"])), max_size=40))
def test_every_request_is_served_exactly_once_whatever_the_order(steps: list[tuple[int, str]]) -> None:
    desk, served, asked = Desk(), [], set()
    for number, (name, what) in enumerate(steps):
        if what == "end":
            desk = desk.begin()
            served += [] if desk.running is None else desk.running.request_ids
            desk = desk.finish()
        else:
            asked.add(str(name))
            desk, _, _ = desk.receive(request(str(name), what), f"run-{number}")  # type: ignore[arg-type]
    while desk.waiting is not None:
        desk = desk.begin()
        assert desk.running is not None
        served += desk.running.request_ids
        desk = desk.finish()
    assert sorted(served) == sorted(asked)


def test_what_is_remembered_is_bounded() -> None:
    desk = Desk()
    for number in range(REMEMBERED + 10):
        desk, _, _ = desk.receive(request(str(number)), "run")
        desk = desk.begin().finish()
    assert len(desk.known) == REMEMBERED
    assert desk.known[-1] == str(REMEMBERED + 9)
