"""One retraining at a time; requests that arrive meanwhile are merged; a repeated request is served once."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from stream.contract import RetrainOptions, RetrainReason, RetrainRequest
from training.sidecar.requests.queue import MAX_KNOWN, RetrainQueue, merged_options

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def request(name: str, reason: RetrainReason = "demand", **options: int) -> RetrainRequest:
    return RetrainRequest(
        request_id=name, spec="line", reason=reason, by="test", at=NOW, options=RetrainOptions(**options)
    )


def running(name: str = "first") -> RetrainQueue:
    queue, _, answer = RetrainQueue().receive(request(name), "run-1")
    assert answer == "next"
    return queue.begin()


def test_the_first_request_runs_next() -> None:
    queue = running()
    assert queue.running is not None
    assert (queue.running.run_id, queue.running.request_ids, queue.waiting) == ("run-1", ["first"], None)


def test_requests_that_arrive_meanwhile_are_merged_into_one_follow_up() -> None:
    queue = running()
    queue, run, answer = queue.receive(request("second", epochs=3, seed=1), "run-2")
    assert run is not None
    assert (run.run_id, answer) == ("run-2", "merged")
    queue, run, answer = queue.receive(request("third", "drift", epochs=5), "run-3")
    assert run is not None
    assert (run.run_id, run.request_ids, answer) == ("run-2", ["second", "third"], "merged")
    assert run.options == RetrainOptions(epochs=5, seed=1)
    assert run.reason == "demand"
    assert queue.begin() == queue, "one at a time"
    queue = queue.finish().begin()
    assert queue.running == run
    assert queue.waiting is None


def test_a_scheduled_request_is_served_by_the_retraining_under_way() -> None:
    queue, run, answer = running().receive(request("due", "schedule"), "run-2")
    assert run is not None
    assert (run.run_id, run.request_ids, run.reason, answer) == ("run-1", ["first", "due"], "demand", "merged")
    assert queue.waiting is None


def test_a_request_that_waits_for_the_first_to_begin_is_merged_with_it() -> None:
    queue, _, _ = RetrainQueue().receive(request("first"), "run-1")
    queue, run, answer = queue.receive(request("second"), "run-2")
    assert run is not None
    assert (run.run_id, run.request_ids, answer) == ("run-1", ["first", "second"], "merged")


def test_a_repeated_request_changes_nothing_also_after_it_was_served() -> None:
    queue = running().finish()
    again, run, answer = queue.receive(request("first"), "run-2")
    assert (again, run, answer) == (queue, None, "known")


def test_a_queue_is_read_as_it_was_written() -> None:
    queue, _, _ = running().receive(request("second", epochs=2), "run-2")
    assert RetrainQueue.model_validate_json(queue.model_dump_json()) == queue


def test_the_latest_value_of_every_option_counts() -> None:
    assert merged_options([]) == RetrainOptions()
    several = [RetrainOptions(epochs=3, seed=1), RetrainOptions(episodes=200), RetrainOptions(epochs=5)]
    assert merged_options(several) == RetrainOptions(epochs=5, episodes=200, seed=1)


@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from(["demand", "drift", "schedule", "end"])), max_size=40))
def test_every_request_is_served_exactly_once_whatever_the_order(steps: list[tuple[int, str]]) -> None:
    queue, served, asked = RetrainQueue(), [], set()
    for number, (name, what) in enumerate(steps):
        if what == "end":
            queue = queue.begin()
            served += [] if queue.running is None else queue.running.request_ids
            queue = queue.finish()
        else:
            asked.add(str(name))
            queue, _, _ = queue.receive(request(str(name), what), f"run-{number}")  # type: ignore[arg-type]
    while queue.waiting is not None:
        queue = queue.begin()
        assert queue.running is not None
        served += queue.running.request_ids
        queue = queue.finish()
    assert sorted(served) == sorted(asked)


def test_what_is_remembered_is_bounded() -> None:
    queue = RetrainQueue()
    for number in range(MAX_KNOWN + 10):
        queue, _, _ = queue.receive(request(str(number)), "run")
        queue = queue.begin().finish()
    assert len(queue.known) == MAX_KNOWN
    assert queue.known[-1] == str(MAX_KNOWN + 9)
