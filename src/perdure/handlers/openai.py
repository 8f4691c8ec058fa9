"""The Chat Completions dialect: OpenAI, vLLM, Ollama, LiteLLM, SGLang, OpenRouter and others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal

import msgspec

from perdure.deltas import Delta
from perdure.handlers import failures
from perdure.handlers.completions import Answer
from perdure.handlers.forms import is_whole
from perdure.handlers.wishes import chat_fields
from perdure.http import HttpClient, HttpError, Response, below
from perdure.model import JSON
from perdure.ports import Call

ANSWER_BYTES_MAX = 16 * 1024 * 1024
SECRET_LENGTH_MIN = 8
OK = 200
OLD_LIMIT, NEW_LIMIT = "max_tokens", "max_completion_tokens"
BAD_REQUEST = frozenset({400, 422})


class OpenAIHandler:
    """Asks a Chat Completions server.

    Args:
        base_url: up to and without `/chat/completions`, e.g. `http://127.0.0.1:9000/v1`.
        model: the server's name of the model.
        api_key: sent as Bearer; never shown in errors.
        headers: more request headers; they win.
        params: more request fields, e.g. `{"temperature": 0}`; `"stream": False` streams nothing.
        client: shared connections; the handler makes and closes its own otherwise.
        continues: how the server goes on with a partial answer, where it can: `""` = it cannot,
            `"continue_final_message"` (vLLM, SGLang), `"prefix"` (DeepSeek beta, Mistral) or
            `"prefill"` (a trailing assistant message is enough).
        limit: the server's name of a caller's `max_output_tokens`; `""` = `max_tokens`, which most
            know, until the server asks for `max_completion_tokens`.

    """

    usage_wait_s = 5.0
    """How long a complete answer waits for the usage behind its finish reason."""

    def __init__(  # noqa: PLR0913 - what a server of this dialect may want differs
        self,
        base_url: str,
        model: str,
        api_key: str | None = None,
        headers: Mapping[str, str] = {},
        params: Mapping[str, Any] = {},
        client: HttpClient | None = None,
        *,
        continues: Literal["", "continue_final_message", "prefix", "prefill"] = "",
        limit: str = "",
    ) -> None:
        self.can_continue = bool(continues)
        self._url = below(base_url, "/chat/completions")
        self._model = model
        self._key = (api_key or "").strip()
        self._headers = {"content-type": "application/json", "accept": "text/event-stream"}
        if self._key:
            self._headers["authorization"] = f"Bearer {self._key}"
        self._headers |= {name.lower(): value for name, value in headers.items()}
        self._secrets = (self._key, *(v for v in headers.values() if len(v) >= SECRET_LENGTH_MIN))
        self._params = dict(params)
        self._client = client or HttpClient()
        self._own_client = client is None
        self._continues = continues
        self._usage_wanted = True
        self._limit = limit or OLD_LIMIT
        self._learns_limit = not limit

    async def stream(self, call: Call) -> AsyncGenerator[Delta, None]:
        """Yield the answer's deltas as they arrive; see `ports.Handler`."""
        answer = Answer(*self._secrets)
        try:
            async with self._ask(call) as response:
                if await is_whole(response, *self._secrets):
                    for delta in answer.read_whole(await response.read(ANSWER_BYTES_MAX)):
                        yield delta
                while not answer.done and (data := await self._next(response, answer)):
                    for delta in answer.deltas(data):
                        yield delta
                    if call.put is not None and answer.flows:
                        await response.listen(partial(answer.read, call.put))
                        for delta in answer.deltas(b""):
                            yield delta
                if answer.done:
                    response.finish()
        except HttpError as error:
            raise failures.unreachable(error) from None
        yield answer.finish()

    async def close(self) -> None:
        """Close the connections, unless they are somebody else's."""
        if self._own_client:
            await self._client.close()

    @asynccontextmanager
    async def _ask(self, call: Call) -> AsyncIterator[Response]:
        """Send the request, and again as the server wants it where its refusal says how."""
        while True:
            sent = self._body(call)
            body = msgspec.json.encode(sent)
            async with self._client.request(
                "POST",
                self._url,
                headers=self._headers,
                body=body,
            ) as response:
                if response.status == OK:
                    yield response
                    return
                said = await response.read(failures.BODY_BYTES_MAX)
            if response.status not in BAD_REQUEST or not self._learn(sent, said):
                raise failures.refused(response.status, response.headers, said, *self._secrets)

    def _learn(self, sent: JSON, said: bytes) -> bool:
        """Take what a refusal says of the server; False: nothing that would help."""
        if "stream_options" in sent and b"stream_options" in said:
            self._usage_wanted = False
            return True
        if self._learns_limit and OLD_LIMIT in sent and NEW_LIMIT.encode() in said:
            self._limit = NEW_LIMIT
            return OLD_LIMIT not in self._params
        return False

    async def _next(self, response: Response, answer: Answer) -> bytes:
        """Return the next bytes; those behind the finish reason (usage) are not waited for long."""
        if answer.flows:
            return await response.receive()
        try:
            async with asyncio.timeout(self.usage_wait_s):
                return await response.receive()
        except (TimeoutError, HttpError):
            return b""

    def _body(self, call: Call) -> JSON:
        body: JSON = {"model": self._model, "messages": list(call.messages), "stream": True}
        body |= chat_fields(call.params, self._limit)
        if not self._params.keys().isdisjoint((OLD_LIMIT, NEW_LIMIT)):
            body.pop(self._limit, None)  # the settings' own limit wins, whatever its name
        body |= self._params
        if self._usage_wanted and body["stream"]:
            body.setdefault("stream_options", {"include_usage": True})
        else:
            body.pop("stream_options", None)
        if call.partial and self._continues:
            partial: JSON = {"role": "assistant", "content": call.partial}
            if self._continues == "prefix":
                partial["prefix"] = True
            elif self._continues == "continue_final_message":
                body |= {"continue_final_message": True, "add_generation_prompt": False}
            body["messages"] = [*call.messages, partial]
        return body
