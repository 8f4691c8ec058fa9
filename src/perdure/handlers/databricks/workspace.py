"""Calls to a workspace: under whose name, and what it means when they are refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

from perdure.errors import UpstreamError
from perdure.handlers import failures
from perdure.handlers.databricks.credentials import Credentials, Signed
from perdure.http import HttpClient, HttpError, Response
from perdure.model import JSON
from perdure.user_tokens import AUTH_REQUIRED, UserToken

OK, UNAUTHORIZED, NOT_FOUND = 200, 401, 404
ANSWER_BYTES_MAX = 16 * 1024 * 1024
BUSY = frozenset({429, 503})
RETRY_AFTER_S = 1.0
"""What Databricks' own clients wait when a busy server does not say how long."""


class Answered(msgspec.Struct, frozen=True):
    """A response, and what must not be shown of the call that brought it."""

    response: Response
    secrets: Sequence[str]

    async def refused(self) -> UpstreamError:
        """Return the error that a status other than 200 is."""
        response = self.response
        return refusal(response, await response.read(failures.BODY_BYTES_MAX), self.secrets)


class Workspace:
    """A workspace, asked by the application or on behalf of a person.

    Args:
        credentials: the application's.
        headers: more request headers; they win.

    """

    def __init__(self, credentials: Credentials, headers: Mapping[str, str] = {}) -> None:
        self._credentials = credentials
        self._headers = {"content-type": "application/json"}
        self._more = {name.lower(): value for name, value in headers.items()}
        self._client = HttpClient()

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        *,
        token: UserToken | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] = {},
    ) -> AsyncIterator[Answered]:
        """Send a request, once more with a new token where ours is not taken; any status comes.

        Raises `UpstreamError` when we cannot sign in, `HttpError` as the client does.
        """
        for last in (False, True):
            signed = await self._signed(token)
            sent = {**self._headers, **headers, **signed.headers, **self._more}
            url = signed.host + path
            async with self._client.request(method, url, headers=sent, body=body) as response:
                if response.status != UNAUTHORIZED or (last and token is None):
                    yield Answered(response, _secrets(sent))
                    return
            if token is not None:
                raise sign_in_again("Databricks does not take your sign-in any more")
            self._credentials.refused(signed)

    async def look(
        self,
        who: str,
        method: str,
        path: str,
        *,
        token: UserToken | None = None,
        body: bytes | None = None,
    ) -> JSON:
        """Send a request to `who` and return the object that it answers with.

        Raises `UpstreamError`: `upstream_forgot` where a GET finds nothing.
        """
        try:
            async with self.open(method, path, token=token, body=body) as answered:
                if answered.response.status == NOT_FOUND and method == "GET":
                    detail = f"{who} does not know its own answer any more."
                    raise UpstreamError(detail, code="upstream_forgot")
                if answered.response.status != OK:
                    raise await answered.refused()
                found = await answered.response.read_json(ANSWER_BYTES_MAX)
        except HttpError as error:
            raise failures.unreachable(error) from None
        if not isinstance(found, dict):
            raise failures.garbage("an answer that is no object.")
        return found

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _signed(self, token: UserToken | None) -> Signed:
        if token is None:
            return await self._credentials.signed()
        host = self._credentials.host or (await self._credentials.signed()).host
        return Signed(host, {"Authorization": f"Bearer {token.reveal()}"})


def sign_in_again(reason: str) -> UpstreamError:
    """Return the error of a call that needs the person's token and has none that counts."""
    detail = f"This agent answers with your own rights, and {reason}. Reload the page and retry."
    return UpstreamError(detail, code=AUTH_REQUIRED)


def refusal(response: Response, said: bytes, secrets: Sequence[str]) -> UpstreamError:
    """Return the error of a refused call; a busy server that does not say when is given a second.

    Source: databricks-sdk, which assumes the same.
    """
    error = failures.refused(response.status, response.headers, said, *secrets)
    if response.status in BUSY and error.retry_after_s is None:
        error.retry_after_s = RETRY_AFTER_S
    return error


def _secrets(headers: Mapping[str, str]) -> list[str]:
    values = [value for name, value in headers.items() if name.lower() == "authorization"]
    return [value.rpartition(" ")[2] for value in values]
