"""Repeated warnings are logged once in an interval, and the number of those left out is never lost."""

from __future__ import annotations

import io
import json
import logging
from collections import Counter
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from stream.settings import Settings
from stream.telemetry import logs
from stream.telemetry.repeats import COUNT, MOST_MESSAGES, RepeatFilter, message_of

INTERVAL_S = 10.0


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def record(text: str, *args: Any, level: int = logging.ERROR, name: str = "aiokafka", exc: Any = None) -> Any:
    return logging.LogRecord(name, level, __file__, 1, text, args, exc)


def left_out(one: logging.LogRecord) -> int:
    return int(getattr(one, COUNT, 0))


@given(
    st.lists(st.tuples(st.sampled_from(["refused", "closed", "timed out"]), st.floats(0, 2 * INTERVAL_S)), max_size=200)
)
def test_every_record_is_either_logged_or_counted_by_the_next_of_its_message(steps: list[tuple[str, float]]) -> None:
    clock = Clock()
    repeats = RepeatFilter(INTERVAL_S, clock)
    given_of, logged_of, counted_of = Counter[str](), Counter[str](), Counter[str]()
    logged_s: dict[str, float] = {}
    pending = Counter[str]()
    for text, pause_s in steps:
        clock.now_s += pause_s
        one = record(text)
        given_of[text] += 1
        if repeats.filter(one):
            assert clock.now_s - logged_s.get(text, -INTERVAL_S) >= INTERVAL_S
            assert left_out(one) == pending[text]
            counted_of[text] += left_out(one)
            logged_of[text] += 1
            logged_s[text], pending[text] = clock.now_s, 0
        else:
            assert text in logged_s, "the first of a message is always logged"
            assert clock.now_s - logged_s[text] < INTERVAL_S
            pending[text] += 1
    assert given_of == logged_of + counted_of + pending


def test_messages_that_differ_in_numbers_alone_are_repeats() -> None:
    repeats = RepeatFilter(INTERVAL_S, Clock())
    assert repeats.filter(record("Unable connect to node with id %s: %s", 1, "[Errno 111] ('127.0.0.1', 9092)"))
    assert not repeats.filter(record("Unable connect to node with id %s: %s", 2, "[Errno 111] ('127.0.0.1', 9093)"))
    assert not repeats.filter(record("Unable connect to node with id 3: [Errno 111] ('10.0.0.1', 9092)"))
    assert repeats.filter(record("Unclosed %s", "<AIOKafkaProducer object at 0x7fafa3d5>"))
    assert not repeats.filter(record("Unclosed %s", "<AIOKafkaProducer object at 0x7fbb00ce>"))


def test_another_cause_logger_level_or_exception_is_another_message() -> None:
    repeats = RepeatFilter(INTERVAL_S, Clock())
    assert repeats.filter(record("failed: %s", "refused"))
    assert repeats.filter(record("failed: %s", "timed out"))
    assert repeats.filter(record("failed: %s", "refused", name="faust"))
    assert repeats.filter(record("failed: %s", "refused", level=logging.WARNING))
    assert repeats.filter(record("failed: %s", "refused", exc=(OSError, OSError(), None)))
    assert not repeats.filter(record("failed: %s", "refused", exc=(OSError, OSError(), None)))


def test_the_losses_of_two_partitions_are_two_messages() -> None:
    def lost(partition: int, records: int) -> Any:
        one = record("")
        one.msg = {
            "event": "deleted-before-read",
            "topic": "sensor-windows",
            "partition": partition,
            "records": records,
        }
        return one

    repeats = RepeatFilter(INTERVAL_S, Clock())
    assert repeats.filter(lost(1, 500))
    assert repeats.filter(lost(2, 500))
    assert repeats.filter(lost(2, 700))
    assert not repeats.filter(lost(1, 500))


def test_what_is_no_warning_is_never_dropped() -> None:
    repeats = RepeatFilter(INTERVAL_S, Clock())
    assert all(repeats.filter(record("fault-event", level=logging.INFO)) for _ in range(100))


def test_an_interval_of_zero_logs_every_record() -> None:
    repeats = RepeatFilter(0, Clock())
    assert all(repeats.filter(record("again")) for _ in range(100))


def test_the_message_that_was_logged_longest_ago_is_forgotten_and_logged_again() -> None:
    repeats = RepeatFilter(INTERVAL_S, Clock())
    texts = [f"{'x' * (n % 40)} {'y' * (n // 40)}" for n in range(MOST_MESSAGES + 1)]
    assert all(repeats.filter(record(text)) for text in texts)
    assert not repeats.filter(record(texts[-1]))
    assert repeats.filter(record(texts[0]))


def test_a_record_whose_arguments_do_not_fit_is_compared_by_its_text() -> None:
    assert message_of(record("node %d of %d", 1)) == "node %d of %d"


def test_a_message_is_logged_once_in_ten_seconds_unless_a_setting_says_otherwise() -> None:
    assert Settings(_env_file=None).log_repeat_s == INTERVAL_S


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_events_of_ours_and_of_libraries_pass_one_filter_and_carry_the_count(
    log_format: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr(logs, "RepeatFilter", lambda interval_s: RepeatFilter(interval_s, clock))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logs.configure_logs(Settings(_env_file=None, log_format=log_format))
        for _ in range(3):
            structlog.get_logger("stream.test").warning("publish-failed", topic="faults.lg", attempt=_)
            for library in ("aiokafka", "faust", "mode.services"):
                logging.getLogger(library).error("node %s not ready", _)
        structlog.get_logger("stream.test").warning("publish-failed", topic="faults.ll")
        clock.now_s += INTERVAL_S
        structlog.get_logger("stream.test").warning("publish-failed", topic="faults.lg", attempt=9)
        logging.getLogger("faust").error("node %s not ready", 9)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 7, shown
    assert not any(COUNT in line for line in shown[:5])
    assert all(COUNT in line for line in shown[5:])
    if log_format == "json":
        assert [json.loads(line).get(COUNT, 0) for line in shown] == [0, 0, 0, 0, 0, 2, 2]


def test_threads_that_log_at_once_lose_no_count() -> None:
    import threading

    clock = Clock()
    repeats = RepeatFilter(INTERVAL_S, clock)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(repeats)
    threads = [threading.Thread(target=lambda: [handler.handle(record("again")) for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.now_s += INTERVAL_S
    last = record("again")
    assert repeats.filter(last)
    assert stream.getvalue().count("again") == 1
    assert left_out(last) == 8 * 500 - 1
