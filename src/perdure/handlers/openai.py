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
from perdure.handlers.wishes import chat_fields
from perdure.http import HttpClient, HttpError, Response
from perdure.model import JSON
from perdure.ports import Call

ANSWER_BYTES_MAX = 16 * 1024 * 1024
SECRET_LENGTH_MIN = 8
OK = 200
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

    """

    usage_wait_s = 5.0
    """How long a complete answer waits for the usage behind its finish reason."""

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None = None,
        headers: Mapping[str, str] = {},
        params: Mapping[str, Any] = {},
        client: HttpClient | None = None,
        *,
        continues: Literal["", "continue_final_message", "prefix", "prefill"] = "",
    ) -> None:
        self.can_continue = bool(continues)
        self._url = base_url.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
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

    async def stream(self, call: Call) -> AsyncGenerator[Delta, None]:
        """Yield the answer's deltas as they arrive; see `ports.Handler`."""
        answer = Answer(*self._secrets)
        try:
            async with self._ask(call) as response:
                if _kind(response) == "application/json":
                    for delta in answer.read_whole(await response.read(ANSWER_BYTES_MAX)):
                        yield delta
                while not answer.done and (data := await self._next(response, answer)):
                    for delta in answer.deltas(data):
                        yield delta
                    if call.put is not None and answer.flows:
                        await response.listen(partial(answer.read, put=call.put))
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
        """Send the request, once more if the server knows no `stream_options`."""
        while True:
            with_usage = self._usage_wanted
            body = msgspec.json.encode(self._body(call, with_usage=with_usage))
            async with self._client.request(
                "POST",
                self._url,
                headers=self._headers,
                body=body,
            ) as response:
                if response.status == OK:
                    if _kind(response) == "text/html":
                        raise failures.garbage("a web page; is the base URL right?")
                    yield response
                    return
                said = await response.read(failures.BODY_BYTES_MAX)
            if not (with_usage and response.status in BAD_REQUEST and b"stream_options" in said):
                raise failures.refused(response.status, response.headers, said, *self._secrets)
            self._usage_wanted = False

    async def _next(self, response: Response, answer: Answer) -> bytes:
        """Return the next bytes; those behind the finish reason (usage) are not waited for long."""
        if answer.flows:
            return await response.receive()
        try:
            async with asyncio.timeout(self.usage_wait_s):
                return await response.receive()
        except (TimeoutError, HttpError):
            return b""

    def _body(self, call: Call, *, with_usage: bool) -> JSON:
        body: JSON = {"model": self._model, "messages": list(call.messages), "stream": True}
        body |= chat_fields(call.params)
        body |= self._params
        if with_usage and body["stream"]:
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


def _kind(response: Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()
