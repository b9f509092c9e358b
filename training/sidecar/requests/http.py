"""Serve ``POST /retrain``, which requests a retraining. It is off unless a port is set, and needs a bearer token."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from math import ceil

import structlog
from aiohttp import web
from pydantic import Field, ValidationError

from model.frozen import FrozenModel
from stream.contract import RetrainOptions, RetrainRequest
from stream.errors import WorkerError
from stream.settings import Settings

log = structlog.get_logger(__name__)

# Largest body of a request; it holds options and a note of 2000 characters at most.
MAX_BODY_BYTES = 16 * 1024
# Number of wrong tokens per hour: enough for typing errors, far too few to guess a token. More are answered with 429.
WRONG_TOKENS_PER_HOUR = 60


class RateLimit:
    """Token bucket of ``per_hour`` requests, full at first and refilled evenly. Pure: callers pass the time.

    Example:
        >>> limit = RateLimit(2, now_s=0.0)
        >>> [limit.wait_s(now) for now in (0.0, 0.0, 0.0, 1800.0)]
        [0.0, 0.0, 1800.0, 0.0]
    """

    def __init__(self, per_hour: int, now_s: float) -> None:
        self._per_hour = per_hour
        self._left = float(per_hour)
        self._at_s = now_s

    def wait_s(self, now_s: float) -> float:
        """Return 0 and count the request if it is allowed, otherwise return the seconds to wait."""
        rate = self._per_hour / 3600
        self._left = min(float(self._per_hour), self._left + (now_s - self._at_s) * rate)
        self._at_s = now_s
        if self._left >= 1 - 1e-9:
            self._left -= 1
            return 0.0
        return (1 - self._left) / rate


class _Body(FrozenModel):
    """Body of a request; an empty one requests a retraining with the sidecar's settings."""

    options: RetrainOptions = RetrainOptions()
    note: str = Field("", max_length=2000)


def _error(status: int, error: str, advice: str, **headers: str) -> web.Response:
    return web.json_response({"error": error, "advice": advice}, status=status, headers=headers)


class RetrainEndpoint:
    """Endpoint ``POST /retrain``, which answers 202 with the id of the request once the broker has acknowledged it.

    Args:
        settings: host, port, token and rate limit; settings with a port always have a token.
        spec: name of the spec to retrain.
        send: publishes a request; returns once it is acknowledged.
        clock: returns monotonic time in seconds, for the rate limits.
    """

    def __init__(
        self,
        settings: Settings,
        spec: str,
        send: Callable[[RetrainRequest], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        token = settings.retrain_token
        assert settings.retrain_http_port is not None
        assert token is not None
        self._host, self.port = settings.retrain_http_host, settings.retrain_http_port
        # Tokens are compared as hashes, so that timing reveals nothing, not even the length of the token.
        self._token = hashlib.sha256(token.get_secret_value().encode()).digest()
        self._spec, self._send, self._clock = spec, send, clock
        self._request_limit = RateLimit(settings.retrain_http_per_hour, clock())
        self._wrong_token_limit = RateLimit(WRONG_TOKENS_PER_HOUR, clock())
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.add_routes([web.post("/retrain", self._retrain)])
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> None:
        """Start listening.

        Raises:
            WorkerError: if the port is in use.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self.port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise WorkerError(
                f"cannot listen on {self._host}:{self.port} ({error.strerror or error}): "
                "set FAULTLINE_RETRAIN_HTTP_PORT to a free port, or leave it unset"
            ) from error
        self.port = self._runner.addresses[0][1]
        log.info("retrain-endpoint-listening", host=self._host, port=self.port)

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    def _authorized(self, header: str) -> bool:
        scheme, _, token = header.partition(" ")
        given = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
        # No short circuit: both parts are always computed, so that timing does not reveal which one failed.
        return hmac.compare_digest(given, self._token) & (scheme.lower() == "bearer")

    async def _retrain(self, request: web.Request) -> web.Response:
        if not self._authorized(request.headers.get("Authorization", "")):
            log.warning("retrain-endpoint-unauthorized", remote=request.remote)
            if self._wrong_token_limit.wait_s(self._clock()):
                return _error(429, "too many wrong tokens", "wait a minute", **{"Retry-After": "60"})
            return _error(
                401,
                "no token, or a wrong one",
                "send Authorization: Bearer <FAULTLINE_RETRAIN_TOKEN of the trainer>",
                **{"WWW-Authenticate": "Bearer"},
            )
        try:
            text = await request.text()
            body = _Body.model_validate(json.loads(text) if text.strip() else {})
        except web.HTTPRequestEntityTooLarge:
            return _error(413, f"more than {MAX_BODY_BYTES} bytes", "send options and a note, nothing else")
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            reasons = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in found)
            return _error(422, reasons, 'send JSON like {"options": {"epochs": 20}, "note": "why"}, or nothing')
        except (ValueError, LookupError, RecursionError):
            return _error(400, "the body is not JSON", 'send JSON like {"note": "why"}, or nothing')
        if wait_s := self._request_limit.wait_s(self._clock()):
            return _error(
                429,
                "too many requests",
                f"wait {ceil(wait_s)} s; FAULTLINE_RETRAIN_HTTP_PER_HOUR sets the limit",
                **{"Retry-After": str(ceil(wait_s))},
            )
        retrain_request = RetrainRequest(
            request_id=str(uuid.uuid4()),
            spec=self._spec,
            reason="demand",
            by=f"http {request.remote}",
            at=datetime.now(UTC),
            options=body.options,
            note=body.note,
        )
        await self._send(retrain_request)
        return web.json_response({"request_id": retrain_request.request_id}, status=202)
