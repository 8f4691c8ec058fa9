"""The Supervisor API: a model and hosted tools that run in the workspace, looked at until they end.

It is asked in the background, where it may take half an hour, and then tells no token before an
item is whole. Its id is stored with what it brought, so that whoever takes the answer over goes on
looking: it is asked once, whatever becomes of us. Source: Databricks, Supervisor API (Beta).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from perdure.deltas import Delta, Marked, Plain, Trace
from perdure.errors import UpstreamError
from perdure.handlers import failures
from perdure.handlers.agent_log import AgentLog
from perdure.handlers.databricks.asking import OURS
from perdure.handlers.databricks.credentials import Credentials
from perdure.handlers.databricks.traces import trace_in
from perdure.handlers.databricks.workspace import Workspace
from perdure.model import JSON
from perdure.ports import Call
from perdure.talk import text_in

PATH = "/ai-gateway/mlflow/v1/responses"
POLL_MAX_S = 5.0
RUNNING = frozenset({"queued", "in_progress"})
UNFINISHED = frozenset({*RUNNING, "incomplete"})


class SupervisorHandler:
    """Asks the Supervisor API.

    Args:
        model: what it runs.
        credentials: the application's; people's own are not taken there.
        headers: more request headers; they win.
        params: more request fields (`tools`, `instructions` …); they win.
        poll_s: distance of the first looks; it grows to five seconds.

    """

    can_continue = True

    def __init__(
        self,
        model: str,
        credentials: Credentials,
        *,
        headers: Mapping[str, str] = {},
        params: Mapping[str, Any] = {},
        poll_s: float = 1.0,
    ) -> None:
        self._model = model
        self._params = dict(params)
        self._workspace = Workspace(credentials, headers)
        self._poll_s = poll_s

    async def stream(self, call: Call) -> AsyncGenerator[Delta, None]:
        """Yield the answer's deltas as they are seen; see `ports.Handler`."""
        answer = Answer(call.items, call.upstream)
        if not answer.position["id"]:
            yield answer.read(await self._call("POST", PATH, self._body(call)))
        wait_s = self._poll_s
        while answer.log.finish is None:
            yield answer.read(await self._call("GET", _one(answer.position)))
            if answer.log.finish is None:
                await asyncio.sleep(wait_s)
                wait_s = min(POLL_MAX_S, wait_s * 1.5)
        yield answer.log.finish

    async def stop(self, position: JSON) -> None:
        """Ask the workspace to end the run: nobody wants its answer any more. Never raises."""
        with contextlib.suppress(UpstreamError):
            await self._call("POST", f"{_one(position)}/cancel", b"")

    async def close(self) -> None:
        """Close the connections."""
        await self._workspace.close()

    def _body(self, call: Call) -> bytes:
        asked: JSON = {key: call.params[key] for key in call.params if key not in OURS}
        asked |= {"model": self._model, "input": list(call.items)} | self._params
        return msgspec.json.encode(asked | {"background": True, "stream": False})

    async def _call(self, method: str, path: str, body: bytes | None = None) -> JSON:
        return await self._workspace.look("The Supervisor API", method, path, body=body)


class Answer:
    """What a response of the API has told so far.

    Args:
        given: the input items, which it repeats before its own.
        position: where a former attempt stopped.

    """

    def __init__(self, given: Sequence[JSON], position: JSON | None) -> None:
        self.log = AgentLog(whole_calls=True, position=position)
        self._given = given
        self._trace_id: str | None = None

    @property
    def position(self) -> JSON:
        """Where to go on."""
        return self.log.position

    def read(self, response: JSON) -> Marked:
        """Return what is new. Raises `UpstreamError` when the response says that it failed."""
        output = beyond(response.get("output") or (), self._given)
        if response.get("status") in RUNNING:
            output = [item for item in output if item.get("status") not in UNFINISHED]
        deltas: list[Plain] = []
        if (trace_id := trace_in(response)) and trace_id != self._trace_id:
            self._trace_id = trace_id
            deltas.append(Trace(trace_id))
        deltas += self.log.read_whole({**response, "output": output})
        if not self.log.response_id:
            raise failures.garbage("a response without an id.")
        return Marked(self.position, tuple(deltas))


def beyond(output: Sequence[JSON], given: Sequence[JSON]) -> list[JSON]:
    """Return the output behind the copy of the input with which it begins."""
    copied = 0
    for item, sent in zip(output, given, strict=False):
        if _face(item) != _face(sent):
            break
        copied += 1
    return list(output[copied:])


def _face(item: JSON) -> tuple[Any, ...]:
    """Return what stays the same when an item is repeated; ids and statuses do not."""
    kind = item.get("type") or "message"
    if kind == "message":
        return (kind, item.get("role"), text_in(item.get("content")))
    return (kind, item.get("call_id"))


def _one(position: JSON) -> str:
    return f"{PATH}/{quote(position['id'], safe='')}"
