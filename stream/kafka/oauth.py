"""Get OAUTHBEARER tokens by the client-credentials grant (RFC 6749, section 4.4) and renew them before they expire."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from urllib.parse import quote

import aiohttp
import structlog
from aiokafka.abc import AbstractTokenProvider
from pydantic import SecretStr

from stream.errors import AuthenticationError

RENEW_AT = 0.8  # fraction of a token's lifetime, so that a slow token endpoint does not leave an expired token
DEFAULT_LIFE_S = 300.0  # if the endpoint reports no lifetime, which RFC 6749 only recommends
REQUEST_TIMEOUT_S = 10.0

log = structlog.get_logger(__name__)


class ClientCredentialsTokens(AbstractTokenProvider):  # type: ignore[misc]
    """Provider of access tokens for aiokafka and Faust; all connections share one token until it is renewed."""

    def __init__(
        self,
        url: str,
        client_id: str,
        client_secret: SecretStr,
        scope: str | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Store the arguments; no request is made yet.

        Args:
            url: token endpoint.
            client_id: client id at the endpoint.
            client_secret: sent in the Authorization header only, never logged.
            scope: requested scope; None requests no scope.
            ssl_context: trusted CAs for an https endpoint; the system's own when None.
            clock: monotonic seconds.
        """
        self._url = url
        self._client_id = client_id
        self._client_secret = client_secret
        self._scope = scope
        self._ssl_context = ssl_context
        self._clock = clock
        self._token = ""
        self._renew_at = float("-inf")
        self._expires_at = float("-inf")
        self._asking = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<ClientCredentialsTokens client_id={self._client_id} url={self._url}>"

    async def token(self) -> str:
        """Return an access token that is still valid.

        Raises:
            AuthenticationError: the endpoint cannot be reached or refuses the request, and there is no valid token.
        """
        async with self._asking:
            if self._clock() < self._renew_at:
                return self._token
            try:
                await self._renew()
            except AuthenticationError as error:
                if self._clock() >= self._expires_at:
                    raise
                log.warning("oauth-token-not-renewed", reason=str(error))
            return self._token

    async def _renew(self) -> None:
        form = {"grant_type": "client_credentials"} | ({"scope": self._scope} if self._scope else {})
        # RFC 6749, 2.3.1: id and secret are form-encoded before they become user and password.
        auth = aiohttp.BasicAuth(
            quote(self._client_id, safe=""), quote(self._client_secret.get_secret_value(), safe="")
        )
        asked_at = self._clock()
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)) as session,
                session.post(self._url, data=form, auth=auth, ssl=self._ssl_context or True) as response,
            ):
                answer = await response.json(content_type=None)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise AuthenticationError(
                f"the token endpoint {self._url} returned no token ({_in_words(error)}): check "
                "FAULTLINE_SASL_OAUTH_TOKEN_URL and the network"
            ) from None
        answer = answer if isinstance(answer, dict) else {}
        token = answer.get("access_token")
        if status != 200 or not isinstance(token, str) or not token:
            reason = answer.get("error_description") or answer.get("error") or f"HTTP status {status}"
            raise AuthenticationError(
                f"the token endpoint {self._url} refused client '{self._client_id}' ({reason}): check "
                "FAULTLINE_SASL_OAUTH_CLIENT_ID, _CLIENT_SECRET and _SCOPE"
            )
        life_s = _life_s(answer.get("expires_in"))
        self._token = token
        self._renew_at = asked_at + RENEW_AT * life_s
        self._expires_at = asked_at + life_s


def _life_s(expires_in: object) -> float:
    try:
        return max(float(expires_in), 0.0)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return DEFAULT_LIFE_S


def _in_words(error: BaseException) -> str:
    return str(error) or type(error).__name__
