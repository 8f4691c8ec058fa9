"""Anthropic's Messages API."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from perdure.deltas import Annotation, Delta, Finish, Reasoning, Text, ToolCall, Usage
from perdure.errors import UpstreamError
from perdure.handlers import failures
from perdure.handlers.forms import frame_of, is_whole
from perdure.handlers.wishes import mode_of, offered
from perdure.http import HttpClient, HttpError, Response, below
from perdure.model import JSON
from perdure.ports import Call
from perdure.sse import EventTooLarge, Parser

OK, BAD_REQUEST, OVERLOADED = 200, 400, 529
VERSION = "2023-06-01"
ANSWER_BYTES_MAX = 16 * 1024 * 1024
MAX_TOKENS = 8192
"""The API wants a number; this one is used when nobody gives another."""
GO_ON = "Your answer was cut off. Go on exactly where it stops; repeat nothing."
REASONS: Mapping[str, Literal["stop", "length", "content_filter", "tool_calls"]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "tool_use": "tool_calls",
}


class AnthropicHandler:
    """Asks a Messages server.

    Args:
        base_url: up to and without `/messages`, e.g. `https://api.anthropic.com/v1`.
        model: the server's name of the model.
        api_key: sent as `x-api-key`; never shown in errors.
        headers: more request headers; they win.
        params: more request fields; they win over the caller's.

    """

    can_continue = True

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None = None,
        headers: Mapping[str, str] = {},
        params: Mapping[str, Any] = {},
    ) -> None:
        self._url = below(base_url, "/messages")
        self._model = model
        self._headers = {"content-type": "application/json", "anthropic-version": VERSION}
        key = (api_key or "").strip()
        if key:
            self._headers["x-api-key"] = key
        self._headers |= {name.lower(): value for name, value in headers.items()}
        self._secrets = (key, *headers.values())
        self._params = dict(params)
        self._client = HttpClient()
        self._prefills = True

    async def stream(self, call: Call) -> AsyncGenerator[Delta, None]:
        """Yield the answer's deltas as they arrive; see `ports.Handler`."""
        log = MessageLog(*self._secrets)
        stripped = call.partial[len(call.partial.rstrip()) :]
        try:
            async for delta in self._asked(call, log):
                if stripped and type(delta) is Text:
                    # The API takes no partial that ends in white space: it may come once more.
                    rest = delta.text.removeprefix(stripped)
                    delta, stripped = Text(rest), ""  # noqa: PLW2901
                yield delta
        except EventTooLarge as error:
            raise failures.garbage(error.detail) from None
        except HttpError as error:
            raise failures.unreachable(error) from None
        if log.finish is None:
            raise failures.dropped("the stream ended without message_stop.")
        yield log.finish

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _asked(self, call: Call, log: MessageLog) -> AsyncGenerator[Delta, None]:
        """Ask; once more with a question to go on where the model takes no partial answer."""
        while True:
            prefills = self._prefills
            body = msgspec.json.encode(self._body(call, prefills=prefills))
            async with self._client.request(
                "POST", self._url, headers=self._headers, body=body
            ) as response:
                if response.status == OK:
                    async for delta in self._read(response, log):
                        yield delta
                    response.finish()
                    return
                said = await response.read(failures.BODY_BYTES_MAX)
            refusing = response.status == BAD_REQUEST and b"prefill" in said.lower()
            if not (call.partial and prefills and refusing):
                raise failures.refused(response.status, response.headers, said, *self._secrets)
            self._prefills = False

    async def _read(self, response: Response, log: MessageLog) -> AsyncGenerator[Delta, None]:
        if await is_whole(response, *self._secrets):
            for delta in log.read_whole(await response.read_json(ANSWER_BYTES_MAX)):
                yield delta
        parser = Parser()
        while log.finish is None and (data := await response.receive()):
            for event in parser.feed(data):
                for delta in log.read(event.data):
                    yield delta

    def _body(self, call: Call, *, prefills: bool) -> JSON:
        system, messages = _split(call.messages)
        if call.partial:
            messages.append({"role": "assistant", "content": call.partial.rstrip()})
            if not prefills:
                messages.append({"role": "user", "content": GO_ON})
        params = call.params
        body: JSON = {
            "model": self._model,
            "messages": messages,
            "stream": True,
            "max_tokens": params.get("max_output_tokens") or MAX_TOKENS,
        }
        if system:
            body["system"] = system
        body |= {key: params[key] for key in ("temperature", "top_p") if key in params}
        tools = [_tool(tool) for tool in offered(params)]
        if tools:
            body |= {"tools": tools} | _choice(params)
        return body | self._params


class MessageLog:
    """What one stream of Messages events has said so far.

    Attributes:
        finish: set when the answer is complete.

    """

    def __init__(self, *secrets: str) -> None:
        self.finish: Finish | None = None
        self._secrets = secrets
        self._begun = False
        self._reason = ""
        self._usage: dict[str, int] = {}
        self._calls: dict[int, tuple[str, str]] = {}
        self._given: set[int] = set()  # calls with arguments

    def read(self, data: bytes) -> Iterator[Delta]:
        """Yield what an event says. Raises `UpstreamError` for failures and garbage."""
        if self.finish is not None or data[:6] == b"[DONE]":
            return  # the end has come, or another dialect's word for it
        yield from self._guarded(frame_of(data), self._event)

    def read_whole(self, message: Any) -> Iterator[Delta]:
        """Yield what an answer says that came in one piece. Raises as `read` does."""
        yield from self._guarded(message, self._message)

    def _guarded(self, told: Any, read: Callable[[JSON], Iterator[Delta]]) -> Iterator[Delta]:
        error = failures.in_stream(told, *self._secrets, first=not self._begun)
        if error is not None:
            raise _overloaded(told, error)
        try:
            yield from read(told)
        except (KeyError, TypeError, AttributeError) as problem:
            raise failures.garbage(f"an event without {problem}.") from None

    def _message(self, message: JSON) -> Iterator[Delta]:
        for index, block in enumerate(message["content"]):
            yield from self._block(index, block)
            yield from self._close(index)
        self._count(message.get("usage"))
        self._reason = message.get("stop_reason") or ""
        yield from self._stop()

    def _event(self, event: JSON) -> Iterator[Delta]:
        match event.get("type"):
            case "message_start":
                self._count(event["message"].get("usage"))
            case "content_block_start":
                yield from self._block(event["index"], event["content_block"])
            case "content_block_delta":
                yield from self._delta(event["index"], event["delta"])
            case "message_delta":
                self._reason = event["delta"].get("stop_reason") or self._reason
                self._count(event.get("usage"))
            case "content_block_stop":
                yield from self._close(event["index"])
            case "message_stop":
                yield from self._stop()

    def _stop(self) -> Iterator[Delta]:
        yield self._whole_usage()
        self.finish = Finish(REASONS.get(self._reason, "stop"))

    def _close(self, index: int) -> Iterator[Delta]:
        """Give a call that was told no arguments the empty object, which is what it means."""
        if index in self._calls and index not in self._given:
            name, call_id = self._calls[index]
            yield ToolCall(str(index), "{}", name, call_id)

    def _block(self, index: int, block: JSON) -> Iterator[Delta]:
        if block["type"] == "tool_use":
            self._begun = True
            self._calls[index] = (block["name"], block["id"])
            given = block.get("input")
            if given:
                self._given.add(index)
            arguments = msgspec.json.encode(given).decode() if given else ""
            yield ToolCall(str(index), arguments, block["name"], block["id"])
        elif block.get("thinking"):
            self._begun = True
            yield Reasoning(block["thinking"])
        elif block.get("text"):
            self._begun = True
            yield Text(block["text"], str(index))

    def _delta(self, index: int, delta: JSON) -> Iterator[Delta]:
        self._begun = True
        match delta["type"]:
            case "text_delta":
                yield Text(delta["text"])
            case "thinking_delta":
                yield Reasoning(delta["thinking"])
            case "input_json_delta" if index in self._calls:  # else of a tool the server runs
                if delta["partial_json"]:
                    self._given.add(index)
                yield ToolCall(str(index), delta["partial_json"], *self._calls[index])
            case "citations_delta" if (cited := delta["citation"]).get("url"):
                link = {"url": cited["url"], "title": cited.get("title") or ""}
                yield Annotation({"type": "url_citation", **link})

    def _count(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self._usage |= {key: value for key, value in usage.items() if isinstance(value, int)}

    def _whole_usage(self) -> Usage:
        told = self._usage.get
        cached = told("cache_read_input_tokens", 0)
        given = told("input_tokens", 0) + cached + told("cache_creation_input_tokens", 0)
        said = told("output_tokens", 0)
        return Usage(given, said, given + said, cached)


def _overloaded(event: JSON, error: UpstreamError) -> UpstreamError:
    """Return the error with what the API's own types say about trying again."""
    told = event.get("error")
    kind = told.get("type") if isinstance(told, dict) else None
    if kind in ("invalid_request_error", "authentication_error", "permission_error"):
        error.retryable = False
    return error


def _split(told: Sequence[JSON]) -> tuple[str, list[JSON]]:
    """Return the system text, and the turns: neighbours of one role are one message."""
    system: list[str] = []
    turns: list[JSON] = []
    for message in told:
        if message["role"] in ("system", "developer"):
            system.extend(block["text"] for block in _blocks(message) if block["type"] == "text")
            continue
        role = "assistant" if message["role"] == "assistant" else "user"
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(_blocks(message))
        else:
            turns.append({"role": role, "content": _blocks(message)})
    return "\n\n".join(system), turns


def _blocks(message: JSON) -> list[JSON]:
    content = message.get("content")
    if message["role"] == "tool":
        call_id = message.get("tool_call_id", "")
        return [{"type": "tool_result", "tool_use_id": call_id, "content": content or ""}]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or ()
    blocks = [_block(part) for part in parts if part.get("text") or part.get("type") != "text"]
    for call in message.get("tool_calls", ()):
        function = call["function"]
        used = {"type": "tool_use", "id": call["id"], "name": function["name"]}
        blocks.append(used | {"input": _input(function["arguments"])})
    return blocks


def _input(arguments: str) -> JSON:
    """Return a call's arguments; a text that is no JSON object (it was cut off) within one."""
    try:
        given = msgspec.json.decode(arguments or "{}")
    except msgspec.DecodeError:
        given = arguments
    return given if isinstance(given, dict) else {"arguments": given}


def _block(part: JSON) -> JSON:
    kind, text = part.get("type"), part.get("text") or part.get("refusal")
    if text:
        return {"type": "text", "text": text}
    if kind == "file" and (document := _document(part["file"])):
        return document
    if kind != "image_url":
        detail = f"The agent's server takes no {kind} of this form."
        raise UpstreamError(detail, code="upstream_refused")
    image = part["image_url"]
    url = image["url"] if isinstance(image, dict) else image
    return {"type": "image", "source": _source(url)}


def _document(file: JSON) -> JSON | None:
    """Return a file as a block; None where it is only an id that another service has given."""
    given = file.get("file_data") or file.get("file_url")
    if not given:
        return None
    data = file.get("file_data") or ""
    source = _source(f"data:application/pdf;base64,{data}" if ":" not in given else given)
    if source.get("media_type", "").startswith("text/"):
        text = base64.b64decode(source["data"]).decode(errors="replace")
        source = {"type": "text", "media_type": "text/plain", "data": text}
    title = {"title": file["filename"]} if file.get("filename") else {}
    return {"type": "document", "source": source, **title}


def _source(url: str) -> JSON:
    head, comma, data = url.partition(",")
    if head.startswith("data:") and comma:
        kind = head.removeprefix("data:").partition(";")[0]
        return {"type": "base64", "media_type": kind, "data": data}
    return {"type": "url", "url": url}


def _tool(tool: JSON) -> JSON:
    schema = tool.get("parameters") or {"type": "object"}
    told = {"name": tool["name"], "input_schema": schema}
    return told | ({"description": tool["description"]} if tool.get("description") else {})


def _choice(params: Mapping[str, Any]) -> JSON:
    choice = mode_of(params.get("tool_choice"))
    told: JSON = {}
    if isinstance(choice, dict) and choice.get("name"):
        told = {"type": "tool", "name": choice["name"]}
    elif choice in ("required", "none"):
        told = {"type": "any" if choice == "required" else "none"}
    if params.get("parallel_tool_calls") is False and choice != "none":
        told = {"type": "auto"} | told | {"disable_parallel_tool_use": True}
    return {"tool_choice": told} if told else {}
