"""``POST /retrain`` requires a token, has a bounded rate, and reports errors in JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from stream.contract import RetrainRequest
from stream.errors import SettingsError, WorkerError
from stream.settings import load_settings
from tests.training.sidecar.sidecar_samples import settings
from training.sidecar.requests.http import WRONG_TOKENS_PER_HOUR, RateLimit, RetrainEndpoint

TOKEN = "a-token-of-some-length"


class Asked:
    def __init__(self) -> None:
        self.requests: list[RetrainRequest] = []

    async def __call__(self, request: RetrainRequest) -> None:
        self.requests.append(request)


@pytest.fixture
async def endpoint(tmp_path: Path) -> AsyncIterator[tuple[RetrainEndpoint, Asked]]:
    asked = Asked()
    given = settings(tmp_path, retrain_http_port=0, retrain_token=TOKEN, retrain_http_per_hour=2)
    endpoint = RetrainEndpoint(given, "line", asked, clock=lambda: 0.0)
    await endpoint.start()
    yield endpoint, asked
    await endpoint.stop()


async def post(
    endpoint: RetrainEndpoint, token: str | None = TOKEN, method: str = "POST", **more: Any
) -> tuple[int, Any, Any]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    url = f"http://127.0.0.1:{endpoint.port}/retrain"
    async with aiohttp.ClientSession() as session, session.request(method, url, headers=headers, **more) as answer:
        body = await answer.json() if answer.content_type == "application/json" else await answer.text()
        return answer.status, body, answer.headers


async def test_a_request_is_passed_on_and_answered_with_its_id(endpoint: tuple[RetrainEndpoint, Asked]) -> None:
    status, body, _ = await post(endpoint[0], json={"options": {"epochs": 3}, "note": "why"})
    assert status == 202
    (request,) = endpoint[1].requests
    assert body == {"request_id": request.request_id}
    assert (request.spec, request.reason, request.options.epochs, request.note) == ("line", "demand", 3, "why")
    assert (await post(endpoint[0]))[0] == 202, "nothing is a request with the trainer's settings"


@pytest.mark.parametrize("token", [None, "", "a-token-of-some-lengtX", TOKEN + "x", "Bearer", "\u00e4\u00f6"])
async def test_without_the_token_nothing_is_asked(endpoint: tuple[RetrainEndpoint, Asked], token: str | None) -> None:
    status, body, headers = await post(endpoint[0], token)
    assert (status, headers["WWW-Authenticate"], endpoint[1].requests) == (401, "Bearer", [])
    assert set(body) == {"error", "advice"}
    assert TOKEN not in str(body)


async def test_wrong_tokens_run_out_and_the_right_one_still_opens(endpoint: tuple[RetrainEndpoint, Asked]) -> None:
    answers = [(await post(endpoint[0], "wrong"))[0] for _ in range(WRONG_TOKENS_PER_HOUR + 1)]
    assert answers == [401] * WRONG_TOKENS_PER_HOUR + [429]
    assert (await post(endpoint[0]))[0] == 202


async def test_more_than_the_rate_is_refused_with_the_time_to_retry(endpoint: tuple[RetrainEndpoint, Asked]) -> None:
    assert [(await post(endpoint[0]))[0] for _ in range(2)] == [202, 202]
    status, body, headers = await post(endpoint[0])
    assert (status, headers["Retry-After"], len(endpoint[1].requests)) == (429, "1800", 2)
    assert "FAULTLINE_RETRAIN_HTTP_PER_HOUR" in body["advice"]


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"{not json", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b"[" * 8000, 400, "not JSON"),
        (b'{"options": {"epochs": 0}}', 422, "options.epochs"),
        (b'{"options": {"architecture": "cnn"}}', 422, "options.architecture"),
        (b'["epochs"]', 422, "body"),
        (b" " * 20_000, 413, "16384 bytes"),
    ],
)
async def test_a_wrong_body_is_explained(
    endpoint: tuple[RetrainEndpoint, Asked], body: bytes, status: int, word: str
) -> None:
    found, answer, _ = await post(endpoint[0], data=body)
    assert (found, endpoint[1].requests) == (status, [])
    assert word in answer["error"]


async def test_only_posting_to_its_one_page_is_answered(endpoint: tuple[RetrainEndpoint, Asked]) -> None:
    assert (await post(endpoint[0], method="GET"))[0] == 405


async def test_a_taken_port_is_one_clear_error(endpoint: tuple[RetrainEndpoint, Asked], tmp_path: Path) -> None:
    again = RetrainEndpoint(
        settings(tmp_path, retrain_http_port=endpoint[0].port, retrain_token=TOKEN), "line", Asked()
    )
    with pytest.raises(WorkerError, match="set FAULTLINE_RETRAIN_HTTP_PORT to a free port"):
        await again.start()


def test_the_bucket_refills_evenly_and_never_beyond_full() -> None:
    limit = RateLimit(4, now_s=0.0)
    assert [limit.wait_s(10_000.0) for _ in range(5)] == [0.0, 0.0, 0.0, 0.0, 900.0]
    assert limit.wait_s(10_450.0) == pytest.approx(450.0)
    assert limit.wait_s(10_900.0) == 0.0


@pytest.mark.parametrize("token", [None, "short"])
def test_a_port_without_a_proper_token_is_refused(token: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="retrain_http_port needs retrain_token of at least 16 characters"):
        load_settings(retrain_http_port=8068, retrain_token=token)


@pytest.mark.parametrize("schedule", ["soon", "61 * * * *", "* * * * * *", "@daily now"])
def test_a_schedule_that_is_none_is_refused(schedule: str) -> None:
    with pytest.raises(SettingsError, match=r"FAULTLINE_RETRAIN_SCHEDULE: .* is not a cron expression of five fields"):
        load_settings(retrain_schedule=schedule)


def test_the_token_is_in_no_text_of_the_settings(tmp_path: Path) -> None:
    given = settings(tmp_path, retrain_http_port=0, retrain_token=TOKEN)
    show: Callable[[object], str] = repr
    assert TOKEN not in show(given) + str(given)
