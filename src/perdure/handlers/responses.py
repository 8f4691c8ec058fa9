"""The Responses dialect: OpenAI, vLLM, MLflow's AgentServer, another Perdure and others.

With `background` the server goes on by itself: its response's id and the number of its last event
are stored with what they brought, and whoever takes the answer over re-attaches there. The server
is asked once, whatever becomes of us.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import msgspec

from perdure.deltas import Delta, Marked
from perdure.errors import UpstreamError
from perdure.handlers import failures
from perdure.handlers.agent_log import AgentLog
from perdure.handlers.forms import is_whole
from perdure.http import HttpClient, HttpError, Response, below
from perdure.model import JSON
from perdure.ports import Call
from perdure.sse import EventTooLarge, Parser

ANSWER_BYTES_MAX = 16 * 1024 * 1024
OK, NOT_FOUND, GONE, TOO_MANY, SERVER_ERRORS = 200, 404, 410, 429, 500
POLL_MAX_S = 10.0
ATTACHES_MAX = 6
"""Attempts in a row to re-attach that bring nothing, before the answer counts as dropped."""
OURS = frozenset({"background", "store", "conversation", "previous_response_id"})
"""Parameters that are between the caller and us."""


class ResponsesHandler:
    """Asks a Responses API server.

    Args:
        base_url: up to and without `/responses`.
        model: the server's name of the model.
        api_key: sent as Bearer; never shown in errors.
        headers: more request headers; they win.
        params: more request fields; they win over the caller's.
        background: let the server go on by itself, and re-attach.
        poll_s: distance of two looks where the server cannot stream what runs.

    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None = None,
        headers: Mapping[str, str] = {},
        params: Mapping[str, Any] = {},
        *,
        background: bool = False,
        poll_s: float = 1.0,
    ) -> None:
        self.can_continue = background
        self._url = below(base_url, "/responses")
        self._model = model
        self._headers = {"content-type": "application/json", "accept": "text/event-stream"}
        key = (api_key or "").strip()
        if key:
            self._headers["authorization"] = f"Bearer {key}"
        self._headers |= {name.lower(): value for name, value in headers.items()}
        self._secrets = (key, *headers.values())
        self._params = dict(params)
        self._background = background
        self._poll_s = poll_s
        self._client = HttpClient()

    async def stream(self, call: Call) -> AsyncGenerator[Delta, None]:
        """Yield the answer's deltas as they arrive; see `ports.Handler`."""
        log = AgentLog(*self._secrets, whole_calls=self._background, position=call.upstream)
        if call.upstream is None:
            try:
                async for delta in self._read(self._asked(call), log):
                    yield delta
            except UpstreamError as error:
                if not (self._background and log.response_id and error.code == "upstream_dropped"):
                    raise
        if log.finish is None and self._background and log.response_id:
            async for delta in self._attached(log):
                yield delta
        if log.finish is None:
            raise failures.dropped("the stream ended without its last event.")
        yield log.finish

    async def stop(self, position: JSON) -> None:
        """Stop the server's own run: nobody wants its answer any more. Never raises."""
        url = below(self._one(position["id"]), "/cancel")
        with contextlib.suppress(HttpError):
            async with self._client.request("POST", url, headers=self._headers, body=b""):
                pass

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    @asynccontextmanager
    async def _asked(self, call: Call) -> AsyncIterator[Response]:
        body: JSON = {key: call.params[key] for key in call.params if key not in OURS}
        if call.params.get("store") is False:
            body["store"] = (
                False  # what the caller wants nobody to keep, the agent's server neither
            )
        body |= {"model": self._model, "input": list(call.items), "stream": True} | self._params
        if self._background:
            body |= {"background": True, "store": True}
        encoded = msgspec.json.encode(body)
        async with self._client.request(
            "POST", self._url, headers=self._headers, body=encoded
        ) as response:
            if response.status != OK:
                raise await self._refused(response)
            yield response

    @asynccontextmanager
    async def _followed(self, log: AgentLog) -> AsyncIterator[Response]:
        """Open the server's log behind what was read."""
        one = self._one(log.response_id)
        url = f"{one}{'&' if '?' in one else '?'}stream=true&starting_after={log.number}"
        async with self._client.request("GET", url, headers=self._headers) as response:
            if response.status in (NOT_FOUND, GONE):
                detail = "The agent's server does not know its own response any more."
                raise UpstreamError(detail, code="upstream_forgot")
            if response.status != OK:
                raise await self._refused(response)
            yield response

    async def _attached(self, log: AgentLog) -> AsyncGenerator[Delta, None]:
        """Follow the server's log to its end, whatever breaks; poll where it cannot be followed."""
        failed = 0
        while log.finish is None:
            before = log.number
            try:
                async for delta in self._read(self._followed(log), log):
                    yield delta
            except UpstreamError as error:
                if error.code in ("upstream_refused", "upstream_garbage"):
                    async for delta in self._polled(log):
                        yield delta
                    return
                if not error.retryable or failed >= ATTACHES_MAX:
                    raise
            failed = 0 if log.number > before else failed + 1
            if log.finish is None:
                if failed > ATTACHES_MAX:
                    return
                await asyncio.sleep(min(8.0, 0.25 * 2**failed))

    async def _polled(self, log: AgentLog) -> AsyncGenerator[Delta, None]:
        """Look at the response until it has ended, and tell what is missing each time."""
        while log.finish is None:
            try:
                async with self._client.request(
                    "GET", self._one(log.response_id), headers=self._headers
                ) as response:
                    if response.status != OK:
                        raise await self._refused(response)
                    wait_s = self._wait_s(response)
                    deltas = log.read_whole(await response.read_json(ANSWER_BYTES_MAX))
            except HttpError as error:
                raise failures.unreachable(error) from None
            yield Marked(log.position, tuple(deltas))
            if log.finish is None:
                await asyncio.sleep(wait_s)

    def _wait_s(self, response: Response) -> float:
        """Return how long to wait for the next look: as the server says, within bounds."""
        told = response.headers.get("openai-poll-after-ms", "")
        wait_s = int(told) / 1000 if told.isdecimal() else 0.0
        return min(POLL_MAX_S, max(self._poll_s, wait_s))

    async def _read(self, opened: Any, log: AgentLog) -> AsyncGenerator[Delta, None]:
        """Yield what a response says; returns at its end, complete or not."""
        parser = Parser()
        try:
            async with opened as response:
                if await is_whole(response, *self._secrets):
                    for delta in self._whole(await response.read_json(ANSWER_BYTES_MAX), log):
                        yield delta
                    return
                while log.finish is None and (data := await response.receive()):
                    for event in parser.feed(data):
                        for delta in self._event(event.data, log):
                            yield delta
                response.finish()
        except EventTooLarge as error:
            raise failures.garbage(error.detail) from None
        except HttpError as error:
            raise failures.unreachable(error) from None

    def _whole(self, response: Any, log: AgentLog) -> list[Delta]:
        if not isinstance(response, dict):
            raise failures.garbage("an answer that is no object.")
        deltas = log.read_whole(response)
        return [Marked(log.position, tuple(deltas))] if self._background else list(deltas)

    def _event(self, data: bytes, log: AgentLog) -> list[Delta]:
        if data[:6] == b"[DONE]" or log.finish is not None:
            return []
        known = log.response_id
        deltas = log.read(data)
        if not self._background:
            return list(deltas)
        if deltas or log.response_id != known:
            return [Marked(log.position, tuple(deltas))]
        return []

    def _one(self, response_id: str) -> str:
        return below(self._url, f"/{quote(response_id, safe='')}")

    async def _refused(self, response: Response) -> UpstreamError:
        said = await response.read(failures.BODY_BYTES_MAX)
        return failures.refused(response.status, response.headers, said, *self._secrets)
