"""The Chat Completions dialect: OpenAI, vLLM, Ollama, LiteLLM, SGLang, OpenRouter and others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec

from perdure.deltas import Delta, Finish, Reasoning, Refusal, Text, ToolCall, Usage
from perdure.errors import UpstreamError
from perdure.handlers import failures
from perdure.handlers.wishes import chat_fields
from perdure.http import HttpClient, HttpError, Response
from perdure.model import JSON
from perdure.ports import Call
from perdure.sse import EventTooLarge, Parser

ANSWER_BYTES_MAX = 16 * 1024 * 1024
SECRET_LENGTH_MIN = 8
OK = 200
BAD_REQUEST = frozenset({400, 422})
DONE = b"[DONE]"
Reason = Literal["stop", "length", "content_filter", "tool_calls"]
REASONS: Mapping[str, Reason] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
BROKEN_REASONS = frozenset({"error", "abort"})


# What is read of a chunk. Fields whose type differs between servers are `Any` and looked at later.


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: Any = None


class _ToolCall(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct, gc=False):
    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int | None = None
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: Any = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


_NOTHING = _Delta()
_decode = msgspec.json.Decoder(_Chunk).decode


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
                receive = response.receive
                while not answer.done and (
                    data := await (receive() if answer.reason is None else self._last(response))
                ):
                    for delta in answer.read(data):
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

    async def _last(self, response: Response) -> bytes:
        """Return the bytes behind the finish reason: the usage, which is not waited for long."""
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


class Answer:
    """What one stream of chunks has said so far.

    Attributes:
        done: `[DONE]` came, or the answer came whole; nothing after it counts.
        reason: the finish reason, once there was one.

    """

    def __init__(self, *secrets: str) -> None:
        self.done = False
        self.reason: Reason | None = None
        self._begun = False  # something was generated
        self._secrets = secrets
        self._parser = Parser()
        self._calls: dict[int, tuple[str, str]] = {}  # index -> (call id, key)

    def read(self, data: bytes) -> Iterator[Delta]:
        """Yield the deltas that these bytes complete. Raises `UpstreamError`."""
        try:
            events = self._parser.feed(data)
        except EventTooLarge as error:
            raise failures.garbage(error.detail) from None
        for event in events:
            if event.data[:6] == DONE:
                self.done = True
                return
            chunk = self._chunk(event.data)
            for choice in chunk.choices or ():
                delta = choice.delta
                if delta is not None and not choice.index:
                    text = delta.content
                    if type(text) is str and text:
                        self._begun = True
                        yield Text(text)
                        delta.content = None
                    if delta != _NOTHING:
                        yield from self._deltas(delta)
                if choice.finish_reason is not None:
                    self._end(choice.finish_reason)
            if chunk.usage is not None:
                yield from _usage(chunk.usage)

    def read_whole(self, body: bytes) -> Iterator[Delta]:
        """Yield the deltas of an answer that came in one piece. Raises `UpstreamError`."""
        self.done = True
        chunk = self._chunk(body)
        message = chunk.choices[0].message if chunk.choices else None
        if chunk.choices is None or message is None:
            raise failures.garbage("an answer without a message")
        yield from self._deltas(message)
        self._end(chunk.choices[0].finish_reason or "stop")
        yield from _usage(chunk.usage)

    def finish(self) -> Finish:
        """Return the last delta. Raises `UpstreamError` if the stream ended before its marker."""
        if self.reason is None:
            how = "it said [DONE]" if self.done else "the stream ended"
            raise failures.dropped(f"{how} without a finish reason.")
        return Finish(self.reason)

    def _chunk(self, data: bytes) -> _Chunk:
        try:
            chunk = _decode(data)
        except msgspec.ValidationError as error:
            self._check(data)
            raise failures.garbage(f"{error}.") from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            if not data.strip():
                return _Chunk()
            raise failures.garbage("a frame that is not JSON.") from None
        if chunk.error is not None or chunk.choices is None:
            self._check(data)
        return chunk

    def _check(self, data: bytes) -> None:
        frame = msgspec.json.decode(data)
        error = failures.in_stream(frame, *self._secrets, first=not self._begun)
        if error is not None:
            raise error

    def _end(self, reason: Any) -> None:
        if reason in BROKEN_REASONS:
            raise UpstreamError(
                f"The agent's server ended the answer with the reason {reason!r}.",
                retryable=not self._begun,
            )
        self.reason = REASONS.get(reason, "stop") if isinstance(reason, str) else "stop"

    def _deltas(self, delta: _Delta) -> Iterator[Delta]:
        """Yield everything but the plain text of a streamed chunk, which `read` has taken."""
        for text in (delta.reasoning_content, delta.reasoning):
            if text and isinstance(text, str):
                self._begun = True
                yield Reasoning(text)
                break
        if delta.content:
            self._begun = True
            yield from _parts(delta.content)
        if delta.refusal and isinstance(delta.refusal, str):
            self._begun = True
            yield Refusal(delta.refusal)
        for call in delta.tool_calls or ():
            self._begun = True
            yield self._tool_call(call)
        if delta.function_call is not None:
            self._begun = True
            yield _piece("function", "", delta.function_call)

    def _tool_call(self, call: _ToolCall) -> ToolCall:
        """Return the piece of a call; some servers count every call as number 0."""
        index = call.index if call.index is not None else max(0, len(self._calls) - (not call.id))
        call_id, key = self._calls.get(index, ("", ""))
        if not key or (call.id and call.id != call_id):
            key = f"{index}:{call.id}" if key else str(index)
            call_id = call.id or ""
            self._calls[index] = call_id, key
        return _piece(key, call.id or "", call.function or _Function())


def _kind(response: Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


def _parts(content: Any) -> Iterator[Delta]:
    """Yield text and reasoning of content that came as text or as a list of parts."""
    if isinstance(content, str):
        yield Text(content)
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            continue
        if part.get("type") == "reasoning":
            yield from map(Reasoning, _summary(part))
        elif isinstance(part.get("text"), str):
            yield Text(part["text"])


def _summary(part: Mapping[str, Any]) -> Iterator[str]:
    pieces = part.get("summary")
    for piece in pieces if isinstance(pieces, list) else [part]:
        if isinstance(piece, dict) and isinstance(piece.get("text"), str):
            yield piece["text"]


def _piece(key: str, call_id: str, function: _Function) -> ToolCall:
    arguments = function.arguments
    if not isinstance(arguments, str):  # an object instead of its text
        arguments = "" if arguments is None else msgspec.json.encode(arguments).decode()
    return ToolCall(key, arguments, function.name or "", call_id)


def _usage(usage: Any) -> Iterator[Usage]:
    if isinstance(usage, dict):
        yield Usage(
            input_tokens=_count(usage, "prompt_tokens"),
            output_tokens=_count(usage, "completion_tokens"),
            total_tokens=_count(usage, "total_tokens"),
            cached_tokens=_count(usage.get("prompt_tokens_details"), "cached_tokens"),
            reasoning_tokens=_count(usage.get("completion_tokens_details"), "reasoning_tokens"),
        )


def _count(counts: Any, name: str) -> int:
    value = counts.get(name) if isinstance(counts, dict) else 0
    return int(value) if isinstance(value, int | float) else 0
