"""Fixtures of the stream's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

TokenEndpoint = Callable[[list[tuple[int, dict[str, Any]]]], AbstractAsyncContextManager[tuple[str, list[web.Request]]]]


@asynccontextmanager
async def _token_endpoint(answers: list[tuple[int, dict[str, Any]]]) -> AsyncIterator[tuple[str, list[web.Request]]]:
    """Start a token endpoint on a real HTTP server that repeats its last answer."""
    asked: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        await request.post()
        asked.append(request)
        status, body = answers[min(len(asked), len(answers)) - 1]
        return web.json_response(body, status=status)

    application = web.Application()
    application.router.add_post("/token", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    try:
        yield f"http://127.0.0.1:{port}/token", asked
    finally:
        await runner.cleanup()


@pytest.fixture
def token_endpoint() -> TokenEndpoint:
    """Start a token endpoint that returns the (status, body) pairs in turn; yield its URL and its requests."""
    return _token_endpoint
