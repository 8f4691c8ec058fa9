"""Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from perdure.deltas import Annotation, Delta, Finish, Reasoning, Text, ToolCall, Usage
from perdure.errors import UpstreamError
from perdure.handlers import failures
from perdure.handlers.wishes import mode_of, offered
from perdure.http import HttpClient, HttpError
from perdure.model import JSON
from perdure.ports import Call
from perdure.sse import EventTooLarge, Parser

OK, BAD_REQUEST, OVERLOADED = 200, 400, 529
VERSION = "2023-06-01"
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
        self._url = base_url.rstrip("/").removesuffix("/messages") + "/messages"
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
                    parser = Parser()
                    while log.finish is None and (data := await response.receive()):
                        for event in parser.feed(data):
                            for delta in log.read(event.data):
                                yield delta
                    response.finish()
                    return
                said = await response.read(failures.BODY_BYTES_MAX)
            refusing = response.status == BAD_REQUEST and b"prefill" in said.lower()
            if not (call.partial and prefills and refusing):
                raise failures.refused(response.status, response.headers, said, *self._secrets)
            self._prefills = False

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
            body |= {"tools": tools} | _choice(params.get("tool_choice"))
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

    def read(self, data: bytes) -> Iterator[Delta]:
        """Yield what an event says. Raises `UpstreamError` for failures and garbage."""
        try:
            event = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise failures.garbage("a frame that is not JSON.") from None
        error = failures.in_stream(event, *self._secrets, first=not self._begun)
        if error is not None:
            raise _overloaded(event, error)
        try:
            yield from self._event(event)
        except (KeyError, TypeError, AttributeError) as problem:
            raise failures.garbage(f"an event without {problem}.") from None

    def _event(self, event: JSON) -> Iterator[Delta]:
        match event["type"]:
            case "message_start":
                self._count(event["message"].get("usage"))
            case "content_block_start":
                yield from self._block(event["index"], event["content_block"])
            case "content_block_delta":
                yield from self._delta(event["index"], event["delta"])
            case "message_delta":
                self._reason = event["delta"].get("stop_reason") or self._reason
                self._count(event.get("usage"))
            case "message_stop":
                yield self._whole_usage()
                self.finish = Finish(REASONS.get(self._reason, "stop"))

    def _block(self, index: int, block: JSON) -> Iterator[Delta]:
        if block["type"] == "tool_use":
            self._begun = True
            self._calls[index] = (block["name"], block["id"])
            given = block.get("input")
            arguments = msgspec.json.encode(given).decode() if given else ""
            yield ToolCall(str(index), arguments, block["name"], block["id"])
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
            case "input_json_delta":
                name, call_id = self._calls[index]
                yield ToolCall(str(index), delta["partial_json"], name, call_id)
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
    if part.get("type") != "image_url":
        return {"type": "text", "text": part.get("text") or ""}
    image = part["image_url"]
    url = image["url"] if isinstance(image, dict) else image
    head, comma, data = url.partition(",")
    if head.startswith("data:") and comma:
        kind = head.removeprefix("data:").partition(";")[0]
        source = {"type": "base64", "media_type": kind, "data": data}
        return {"type": "image", "source": source}
    return {"type": "image", "source": {"type": "url", "url": url}}


def _tool(tool: JSON) -> JSON:
    schema = tool.get("parameters") or {"type": "object"}
    told = {"name": tool["name"], "input_schema": schema}
    return told | ({"description": tool["description"]} if tool.get("description") else {})


def _choice(choice: Any) -> JSON:
    choice = mode_of(choice)
    if isinstance(choice, dict) and choice.get("name"):
        return {"tool_choice": {"type": "tool", "name": choice["name"]}}
    known = {"required": "any", "none": "none"}
    return {"tool_choice": {"type": known[choice]}} if choice in known else {}
