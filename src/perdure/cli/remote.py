"""A Perdure server as its terminal client sees it: a few calls, and streams of events."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from typing import Any, Self

import msgspec

from perdure.errors import Gone, Invalid, NotFound, Refused, Unavailable
from perdure.http import ConnectFailed, HttpClient, HttpError, RequestInvalid, Response
from perdure.model import JSON
from perdure.sse import Parser

CALL_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0
PROBE_TIMEOUT_S = 3.0
SILENCE_MAX_S = 60.0
"""A stream without even a keep-alive for so long is a dead connection."""
BODY_BYTES_MAX = 64 * 1024 * 1024
EVENT_BYTES_MAX = 16 * 1024 * 1024

FIRST_ERROR, FIRST_SERVER_ERROR = 400, 500
NO_CONTENT, UNAUTHORIZED, NOT_FOUND, GONE = 204, 401, 404, 410


class Lost(Unavailable):
    """The server cannot be reached, the connection broke, or it says that it cannot now."""

    code = "connection_lost"


class Remote:
    """The server at `url`; use as an async context manager.

    Calls raise `Lost` when trying again may help, and a `Refused` when it will not.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._client = HttpClient(connect_timeout_s=CONNECT_TIMEOUT_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def ask(self, body: JSON, key: str) -> JSON:
        """Ask a question; repeating it with the same `key` asks nothing more."""
        headers = {"idempotency-key": key}
        return dict(await self.call("POST", "/api/invoke_endpoint", body, headers))

    async def request(self, request_id: str) -> JSON:
        """Return a request as it stands."""
        return dict(await self.call("GET", f"/api/requests/{request_id}"))

    async def cancel(self, request_id: str) -> JSON:
        """Stop a request; return it with the state that won."""
        return dict(await self.call("POST", f"/api/requests/{request_id}/cancel"))

    async def call(
        self,
        method: str,
        path: str,
        body: JSON | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Make one call and return its JSON."""
        sent = None if body is None else msgspec.json.encode(body)
        given = {"accept": "application/json", "content-type": "application/json"}
        given |= _signed() | dict(headers or {})
        try:
            async with (
                asyncio.timeout(CALL_TIMEOUT_S),
                self._client.request(method, self.url + path, headers=given, body=sent) as response,
            ):
                if response.status >= FIRST_ERROR:
                    raise await self._refusal(response)
                if response.status == NO_CONTENT:
                    return None
                return await response.read_json(BODY_BYTES_MAX)
        except (HttpError, TimeoutError) as error:
            raise self._lost(error) from None

    async def status(self, path: str, headers: Mapping[str, str] | None = None) -> int:
        """Return the HTTP status of a GET, whatever it is."""
        return (await self.look(path, headers))[0]

    async def look(
        self, path: str, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any | None]:
        """Return the HTTP status of a GET, whatever it is, and its JSON, if it is any."""
        try:
            async with (
                asyncio.timeout(PROBE_TIMEOUT_S),
                self._client.request("GET", self.url + path, headers=headers) as response,
            ):
                told = None
                with suppress(HttpError):
                    told = await response.read_json(BODY_BYTES_MAX)
                return response.status, told
        except (HttpError, TimeoutError) as error:
            raise self._lost(error) from None

    async def events(self, request_id: str, after: int) -> AsyncGenerator[bytes]:
        """Yield the JSON of each event after `after` until the connection ends.

        An end is not the answer's end: only a terminal event is. Raises `Gone` when the events are
        pruned.
        """
        url = f"{self.url}/api/requests/{request_id}/stream?after={after}"
        try:
            async with self._client.request(
                "GET", url, headers={"accept": "text/event-stream", **_signed()}
            ) as response:
                if response.status >= FIRST_ERROR:
                    raise await self._refusal(response)
                parser = Parser(event_bytes_max=EVENT_BYTES_MAX)
                while response.status != NO_CONTENT and (data := await _next(response)):
                    for event in parser.feed(data):
                        yield event.data
        except (HttpError, TimeoutError) as error:
            raise self._lost(error) from None

    async def _refusal(self, response: Response) -> Refused | Lost:
        """Turn an error answer into an error with its sentence."""
        told: Any = {}
        with suppress(HttpError):
            told = await response.read_json()
        known = isinstance(told, dict) and "detail" in told
        detail = str(told["detail"]) if known else self._strange(response.status)
        code = str(told.get("code", "refused")) if known else "refused"
        if response.status >= FIRST_SERVER_ERROR:
            return Lost(f"{self.url} cannot do it now: {detail}", code=code)
        if response.status == UNAUTHORIZED:
            detail += " Set PERDURE_TOKEN (see perdure tokens)."
        kinds = {NOT_FOUND: NotFound, GONE: Gone}
        return kinds.get(response.status, Refused)(detail, code=code)

    def _strange(self, status: int) -> str:
        return f"{self.url} answered {status}. Is a Perdure server there? Choose one with --url."

    def _lost(self, error: Exception) -> Unavailable | Refused:
        if isinstance(error, RequestInvalid):
            return Refused(f"{self.url} is no address of a server: {error.detail}")
        if isinstance(error, ConnectFailed):
            start = "Start one with `perdure serve`, or name another with --url."
            return Lost(f"No server answers at {self.url}. {start}", code="no_server")
        reason = error.detail if isinstance(error, HttpError) else "It did not answer in time."
        return Lost(f"The connection to {self.url} was lost. {reason}")


def _signed() -> dict[str, str]:
    """Return the header that says who calls; a server without logins takes no notice of it."""
    token = os.environ.get("PERDURE_TOKEN", "")
    if not (token.isascii() and token.isprintable()):
        raise Invalid("PERDURE_TOKEN has a character that HTTP does not allow.")
    return {"authorization": f"Bearer {token}"} if token else {}


async def _next(response: Response) -> bytes:
    async with asyncio.timeout(SILENCE_MAX_S):
        return await anext(response, b"")
