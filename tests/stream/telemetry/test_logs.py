"""Logs: one renderer for Faultline's events and the libraries' records, and no secret in either."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from stream.settings import Settings
from stream.telemetry.logs import NOISY, configure_logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in NOISY}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()


def configure(**settings: Any) -> None:
    configure_logs(Settings(_env_file=None, **settings))


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_an_event_is_one_line_of_json_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure(log_format="json")
    structlog.get_logger("stream.test").info("worker-started", group="faultline", text="two\nlines")
    (line,) = lines(capsys)
    assert (line["event"], line["group"], line["level"]) == ("worker-started", "faultline", "info")
    assert line["logger"] == "stream.test"
    assert line["timestamp"].endswith("Z")


def test_a_librarys_record_looks_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    configure(log_format="json")
    logging.getLogger("aiokafka.consumer").warning("partition %s lost", 3)
    (line,) = lines(capsys)
    assert (line["event"], line["logger"], line["level"]) == ("partition 3 lost", "aiokafka.consumer", "warning")


def test_where_standard_error_is_no_terminal_auto_means_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure(log_format="auto")
    structlog.get_logger("stream.test").info("here")
    assert lines(capsys)[0]["event"] == "here"


def test_nothing_below_the_level_is_logged_and_libraries_are_quieter(capsys: pytest.CaptureFixture[str]) -> None:
    configure(log_format="json", log_level="info")
    structlog.get_logger("stream.test").debug("hidden")
    logging.getLogger("faust.app").info("hidden")
    logging.getLogger("aiokafka.conn").warning("hidden")
    structlog.get_logger("stream.test").info("shown")
    assert [line["event"] for line in lines(capsys)] == ["shown"]


def test_a_higher_level_also_quietens_the_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    configure(log_format="json", log_level="error")
    logging.getLogger("faust.app").warning("hidden")
    logging.getLogger("faust.app").error("shown")
    assert [line["event"] for line in lines(capsys)] == ["shown"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_is_logged_without_the_values_of_variables(
    log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # At a failing login, the password is a local variable.
    configure(log_format=log_format)

    def log_in(password: str) -> None:
        raise OSError("refused")

    try:
        log_in("hunter" + "2")
    except OSError as error:
        structlog.get_logger("stream.test").error("login-failed", exc_info=error)
        logging.getLogger("aiokafka").exception("login failed")
    said = capsys.readouterr().err
    assert "refused" in said
    assert "log_in" in said
    assert "hunter2" not in said
