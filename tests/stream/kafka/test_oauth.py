"""Access tokens: one for all connections, renewed in time, and no secret in any text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from stream.errors import AuthenticationError
from stream.kafka.oauth import ClientCredentialsTokens


async def test_a_token_serves_until_four_fifths_of_its_life_and_then_is_renewed(
    token_endpoint: Callable[..., Any],
) -> None:
    answers = [(200, {"access_token": name, "expires_in": 100}) for name in ("first", "second")]
    now = 0.0
    async with token_endpoint(answers) as (url, asked):
        tokens = ClientCredentialsTokens(url, "me", SecretStr("s"), clock=lambda: now)
        assert await asyncio.gather(tokens.token(), tokens.token()) == ["first", "first"]
        now = 79.0
        assert await tokens.token() == "first"
        assert len(asked) == 1
        now = 81.0
        assert await tokens.token() == "second"


async def test_an_old_token_serves_while_it_is_valid_when_the_endpoint_fails(
    token_endpoint: Callable[..., Any],
) -> None:
    answers = [(200, {"access_token": "first", "expires_in": 100}), (503, {"error": "unavailable"})]
    now = 0.0
    async with token_endpoint(answers) as (url, _):
        tokens = ClientCredentialsTokens(url, "me", SecretStr("s"), clock=lambda: now)
        await tokens.token()
        now = 90.0
        assert await tokens.token() == "first"
        now = 100.0
        with pytest.raises(AuthenticationError, match="unavailable"):
            await tokens.token()


async def test_a_refused_client_secret_is_an_authentication_error_without_the_secret(
    token_endpoint: Callable[..., Any],
) -> None:
    async with token_endpoint([(401, {"error": "invalid_client"})]) as (url, _):
        tokens = ClientCredentialsTokens(url, "me", SecretStr("s3cret"))
        with pytest.raises(AuthenticationError, match="invalid_client") as refused:
            await tokens.token()
    assert "s3cret" not in str(refused.value) + repr(tokens)


async def test_a_dead_token_endpoint_is_named() -> None:
    tokens = ClientCredentialsTokens("http://127.0.0.1:9/token", "me", SecretStr("s"))
    with pytest.raises(AuthenticationError, match="FAULTLINE_SASL_OAUTH_TOKEN_URL"):
        await tokens.token()
