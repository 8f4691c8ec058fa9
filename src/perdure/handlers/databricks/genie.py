"""A Genie space: asked once, then looked at until its answer is there, since it cannot stream.

Where its conversation stands is stored with what it brought, so that whoever takes the answer over
goes on looking: Genie is asked once, whatever becomes of us.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from perdure.deltas import Delta, Finish, Marked, Plain, Reasoning, Text, ToolCall, ToolResult
from perdure.errors import UpstreamError
from perdure.handlers import failures
from perdure.handlers.databricks.credentials import Credentials
from perdure.handlers.databricks.workspace import Workspace, sign_in_again
from perdure.model import JSON
from perdure.ports import Call
from perdure.talk import text_in
from perdure.user_tokens import UserToken

ROWS_MAX = 100
POLL_MAX_S = 5.0
ENDED = frozenset({"COMPLETED", "QUERY_RESULT_EXPIRED"})
BROKEN = frozenset({"FAILED", "CANCELLED"})
DOING: Mapping[str, str] = {
    "FETCHING_METADATA": "Looking at the data sources.",
    "FILTERING_CONTEXT": "Choosing what is relevant.",
    "ASKING_AI": "Thinking.",
    "PENDING_WAREHOUSE": "Waiting for the warehouse.",
    "EXECUTING_QUERY": "Running the query.",
}
"""What people are told while they wait, by the status of Genie's message."""


class GenieHandler:
    """Asks a Genie space.

    Args:
        space_id: which one.
        credentials: the application's.
        on_behalf_of_user: ask with the person's own token, so that the person's rights count.
        headers: more request headers; they win.
        poll_s: distance of the first looks; it grows to five seconds.

    """

    can_continue = True

    def __init__(
        self,
        space_id: str,
        credentials: Credentials,
        *,
        on_behalf_of_user: bool = False,
        headers: Mapping[str, str] = {},
        poll_s: float = 1.0,
    ) -> None:
        self._path = f"/api/2.0/genie/spaces/{quote(space_id, safe='')}"
        self._workspace = Workspace(credentials, headers)
        self.acts_for_people = self._on_behalf_of_user = on_behalf_of_user
        self._poll_s = poll_s

    async def stream(self, call: Call) -> AsyncGenerator[Delta, None]:
        """Yield the answer's deltas as they are seen; see `ports.Handler`."""
        token = call.user_token if self._on_behalf_of_user else None
        if self._on_behalf_of_user and token is None:
            raise sign_in_again("your sign-in is not at hand any more")
        answer = Answer(call.upstream or await self._begin(call, token))
        yield Marked(answer.position)
        wait_s = self._poll_s
        while not answer.ended:
            deltas = answer.read(await self._call("GET", answer.path, token))
            yield Marked(answer.position, tuple(deltas))
            for query in answer.take_queries():
                yield Marked(answer.position, tuple(await self._result(answer, query, token)))
            if not answer.ended:
                await asyncio.sleep(wait_s)
                wait_s = min(POLL_MAX_S, wait_s * 1.5)
        yield Finish("stop")

    async def close(self) -> None:
        """Close the connections."""
        await self._workspace.close()

    async def _begin(self, call: Call, token: UserToken | None) -> JSON:
        body = msgspec.json.encode({"content": question_of(call)})
        begun = await self._call("POST", "/start-conversation", token, body)
        return {"conversation": begun["conversation_id"], "message": begun["message_id"]}

    async def _result(self, answer: Answer, query: str, token: UserToken | None) -> list[Plain]:
        """Return the rows of a query as its tool's output; a query may have lost them."""
        path = f"{answer.path}/attachments/{quote(query, safe='')}/query-result"
        try:
            found = await self._call("GET", path, token)
        except UpstreamError as error:
            if error.retryable:
                raise
            return [ToolResult(query, error.detail)]
        return [ToolResult(query, table_of(found.get("statement_response") or {}))]

    async def _call(
        self, method: str, path: str, token: UserToken | None, body: bytes | None = None
    ) -> JSON:
        return await self._workspace.look(
            "Genie", method, self._path + path, token=token, body=body
        )


class Answer:
    """What a Genie message has told so far.

    Attributes:
        position: what is needed to go on with it; stored, so it holds ids and counts only.
        ended: it is complete.

    """

    def __init__(self, position: JSON) -> None:
        self.position = {"told": [], "status": "", **position}
        self.ended = False
        self._queries: list[str] = []

    @property
    def path(self) -> str:
        """The message's address below its space."""
        conversation, message = self.position["conversation"], self.position["message"]
        return f"/conversations/{quote(conversation, safe='')}/messages/{quote(message, safe='')}"

    def take_queries(self) -> list[str]:
        """Return the queries whose rows are to be fetched, once each."""
        queries, self._queries = self._queries, []
        return queries

    def read(self, message: JSON) -> list[Plain]:
        """Return what is new in the message. Raises `UpstreamError` when it says that it failed."""
        status = str(message.get("status") or "")
        if status in BROKEN:
            error = message.get("error") or {}
            said = failures.clean(str(error.get("error") or error.get("type") or status.lower()))
            raise UpstreamError(f"Genie failed: {said}")
        deltas: list[Plain] = []
        if status != self.position["status"] and status in DOING:
            deltas.append(Reasoning(DOING[status] + "\n"))
        told = [*self.position["told"]]
        if status in ENDED:
            self.ended = True
            for attachment in message.get("attachments") or ():
                deltas += self._attachment(attachment, told)
        self.position = {**self.position, "status": status, "told": told}
        return deltas

    def _attachment(self, attachment: JSON, told: list[str]) -> Iterator[Plain]:
        name = attachment.get("attachment_id") or f"#{len(told)}"
        if name in told:
            return
        told.append(name)
        query, text = attachment.get("query") or {}, attachment.get("text") or {}
        if query.get("query"):
            given = {key: query[key] for key in ("query", "description") if query.get(key)}
            arguments = msgspec.json.encode(given).decode()
            yield ToolCall(name, arguments, query.get("title") or "query", name)
            self._queries.append(name)
        if text.get("content"):
            yield Text(text["content"], name)


def question_of(call: Call) -> str:
    """Return the question; what was said before in the chat comes first, as Genie starts anew."""
    *before, asked = [text_in(message.get("content")) for message in call.messages]
    roles = [message["role"] for message in call.messages]
    if not before:
        return asked
    talk = "\n".join(f"{role}: {text}" for role, text in zip(roles, before, strict=False))
    return f"Our talk so far:\n{talk}\n\nThe question now: {asked}"


def table_of(statement: Any) -> str:
    """Return a statement's columns and its first rows as JSON text."""
    columns = [
        column.get("name")
        for column in ((statement.get("manifest") or {}).get("schema") or {}).get("columns") or ()
    ]
    rows = (statement.get("result") or {}).get("data_array") or []
    table = {"columns": columns, "rows": rows[:ROWS_MAX]}
    if len(rows) > ROWS_MAX:
        table["rows_in_all"] = len(rows)
    return msgspec.json.encode(table).decode()
