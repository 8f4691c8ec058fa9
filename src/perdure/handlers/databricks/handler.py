"""A serving endpoint of Databricks Model Serving, or what answers like one (MLflow's AgentServer).

Knows what is special there: three dialects, two identities, and limits of the platform.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from perdure.deltas import Delta
from perdure.errors import UpstreamError
from perdure.handlers import failures
from perdure.handlers.databricks.agent_events import AgentEvents
from perdure.handlers.databricks.asking import body_of
from perdure.handlers.databricks.chat import Chat
from perdure.handlers.databricks.credentials import Credentials
from perdure.handlers.databricks.endpoint import (
    REQUEST_S_MAX,
    Endpoint,
    Kind,
    other_form,
    read,
)
from perdure.handlers.databricks.traces import TRACE_HEADER
from perdure.handlers.databricks.workspace import Answered, Workspace, refusal, sign_in_again
from perdure.handlers.forms import is_whole
from perdure.http import HttpError
from perdure.ports import Call
from perdure.sse import EventTooLarge, Parser
from perdure.user_tokens import UserToken

OnBehalf = Literal["auto", "always", "never"]

ANSWER_BYTES_MAX = 16 * 1024 * 1024
OK, CLIENT_ERRORS = 200, range(400, 500)
CUT_STATUSES = frozenset({408, 500, 502, 503, 504})
CUT_MARGIN_S = 5.0
"""How much sooner than by its own clock the platform's limit may strike by ours."""
TOLD_S, GUESSED_S = 600.0, 60.0
"""How long a description counts, and how long a guess."""


class DatabricksHandler:
    """Asks a serving endpoint.

    Args:
        endpoint: its name.
        credentials: the application's.
        on_behalf_of: ask with the person's own token: where the endpoint wants it, always, never.
        return_trace: ask agents for the id of their trace.
        headers: more request headers; they win.
        params: more request fields (`custom_inputs`, `temperature` …); they win.

    """

    can_continue = False
    tail_wait_s = 5.0
    """How long a complete answer waits for what may follow it: usage, a trace's id."""
    request_s_max = REQUEST_S_MAX

    def __init__(
        self,
        endpoint: str,
        credentials: Credentials,
        *,
        on_behalf_of: OnBehalf = "auto",
        return_trace: bool = True,
        headers: Mapping[str, str] = {},
        params: Mapping[str, Any] = {},
    ) -> None:
        self._path = quote(endpoint, safe="")
        self.acts_for_people = on_behalf_of != "never"
        self._on_behalf_of = on_behalf_of
        self._return_trace = return_trace
        self._params = dict(params)
        self._workspace = Workspace(credentials, headers)
        self._known: tuple[Endpoint, float] | None = None
        self._headers = {"accept": "text/event-stream"}
        if return_trace:
            self._headers[TRACE_HEADER] = "true"

    async def stream(self, call: Call) -> AsyncGenerator[Delta, None]:
        """Yield the answer's deltas as they arrive; see `ports.Handler`."""
        asked_at = _now()
        try:
            async with self._asked(call) as (answered, kind):
                async for delta in self._read(answered, kind, asked_at):
                    yield delta
        except HttpError as error:
            raise self._explained(failures.unreachable(error), asked_at) from None
        except EventTooLarge as error:
            raise failures.garbage(error.detail) from None
        except UpstreamError as error:
            raise self._explained(error, asked_at) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._workspace.close()

    async def describe(self, token: UserToken | None = None) -> Endpoint:
        """Return what the endpoint says of itself; raises `UpstreamError` when it does not."""
        path = f"/api/2.0/serving-endpoints/{self._path}"
        try:
            async with self._workspace.open("GET", path, token=token) as answered:
                if answered.response.status != OK:
                    raise await answered.refused()
                return read(await answered.response.read_json(ANSWER_BYTES_MAX))
        except HttpError as error:
            raise failures.unreachable(error) from None

    @asynccontextmanager
    async def _asked(self, call: Call) -> AsyncIterator[tuple[Answered, Kind]]:
        """Ask, in the other form where the first one is refused for its form."""
        endpoint, tried = await self._endpoint(call), set[Kind]()
        path = f"/serving-endpoints/{self._path}/invocations"
        token = self._token(call, endpoint)
        while True:
            kind = endpoint.kind
            body = body_of(call, kind, self._params, traced=self._return_trace)
            opened = self._workspace.open(
                "POST", path, token=token, body=body, headers=self._headers
            )
            async with opened as answered:
                if answered.response.status == OK:
                    yield answered, kind
                    return
                said = await answered.response.read(failures.BODY_BYTES_MAX)
            form = other_form(kind, said.decode(errors="replace"))
            tried.add(kind)
            if answered.response.status not in CLIENT_ERRORS or form is None or form in tried:
                raise refusal(answered.response, said, answered.secrets)
            endpoint = msgspec.structs.replace(endpoint, kind=form, told=True)
            self._known = (endpoint, _now() + TOLD_S)

    async def _endpoint(self, call: Call) -> Endpoint:
        """Return what is known of the endpoint, by asking or by guessing."""
        if self._known is not None and _now() < self._known[1]:
            return self._known[0]
        token = self._token(call, Endpoint())
        try:
            endpoint = await self.describe(token)
        except UpstreamError as error:
            if error.status is None or error.retryable:
                raise
            endpoint = Endpoint()
        self._known = (endpoint, _now() + (TOLD_S if endpoint.told else GUESSED_S))
        return endpoint

    def _token(self, call: Call, endpoint: Endpoint) -> UserToken | None:
        """Return the token to ask with, None = the application's."""
        wanted = self._on_behalf_of == "always" or endpoint.needs_user
        if not wanted or self._on_behalf_of == "never":
            return None
        if call.user_token is None:
            raise sign_in_again("your sign-in is not at hand any more")
        return call.user_token

    async def _read(self, answered: Answered, kind: Kind, asked_at: float) -> AsyncIterator[Delta]:
        """Yield what a response says, to its end."""
        response = answered.response
        reader = (AgentEvents if kind == "responses" else Chat)(*answered.secrets)
        if await is_whole(response, *answered.secrets):
            for delta in reader.read_whole(await response.read_json(ANSWER_BYTES_MAX)):
                yield delta
        parser = Parser()
        while not reader.ended and (data := await self._next(answered, reader)):
            for event in parser.feed(data):
                for delta in reader.read(event.data):
                    yield delta
        response.finish()
        for delta in reader.rest():
            yield delta
        if not reader.whole and self._is_old(asked_at):
            raise failures.dropped("it was cut in the middle of a text.")
        yield reader.finish()

    async def _next(self, answered: Answered, reader: AgentEvents | Chat) -> bytes:
        """Return the next bytes; those behind a complete answer are not waited for long."""
        if reader.flows:
            return await answered.response.receive()
        try:
            async with asyncio.timeout(self.tail_wait_s):
                return await answered.response.receive()
        except (TimeoutError, HttpError):
            return b""

    def _is_old(self, asked_at: float) -> bool:
        return _now() - asked_at > self.request_s_max - CUT_MARGIN_S

    def _explained(self, error: UpstreamError, asked_at: float) -> UpstreamError:
        """Return the error, or what it means when it comes at the platform's time limit."""
        cut = error.code == "upstream_dropped" or error.status in CUT_STATUSES
        if not cut or not self._is_old(asked_at):
            return error
        detail = (
            f"Databricks ends every request after {self.request_s_max:g} s, and the agent had not "
            "finished. What it said so far is kept; ask it for less at once."
        )
        return UpstreamError(detail, code="upstream_time_limit", status=error.status)


def _now() -> float:
    return asyncio.get_running_loop().time()
