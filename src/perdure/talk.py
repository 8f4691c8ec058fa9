"""The talk up to a question, as agents are told it: in Chat Completions and in Open Responses.

A stored message holds plain text, or `parts`: content parts of either dialect, or whole items that
are no messages (tool calls of the client's, their outputs), each wrapped as
`{"type": "item", "item": …}`. An answer holds its `output` items.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from perdure.model import JSON, Message
from perdure.records import NewMessage

ITEM = "item"
_TEXTS = frozenset({"text", "input_text", "output_text"})
_PICTURES = ("image_url", "file_id")


def wrapped(item: JSON) -> list[JSON]:
    """Return an item as the parts of a message."""
    return [{"type": ITEM, "item": item}]


def items_of(message: Message | NewMessage) -> list[JSON]:
    """Return the whole items that a message's parts hold; none for ordinary content."""
    return [
        part["item"]
        for part in message.parts or ()
        if part.get("type") == ITEM and isinstance(part.get("item"), dict)
    ]


def flaw(part: Mapping[str, Any]) -> str | None:
    """Say what is wrong with a client's content part; None = nothing.

    An agent's server would refuse it, and with it every later question of the chat.
    """
    match part.get("type"):
        case kind if kind in _TEXTS and not isinstance(part.get("text"), str):
            return "text must be a string"
        case "image_url" if not picture(part):
            return "image_url must be a URL, or an object with a url"
        case "input_image" if not any(isinstance(part.get(key), str) for key in _PICTURES):
            return "input_image needs an image_url or a file_id"
        case "file" if not isinstance(part.get("file"), dict):
            return "file must be an object"
        case kind if kind == ITEM:
            return "'item' is no type of a content part"
    return None


def picture(part: Mapping[str, Any]) -> str:
    """Return the URL of a picture; "" where there is none."""
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    return url if isinstance(url, str) else ""


def as_messages(talk: Iterable[Message], instructions: str | None = None) -> list[JSON]:
    """Return the talk as Chat Completions messages; those that say nothing are left out.

    Of the tool calls only those are told whose outputs the client sent: servers refuse calls
    without outputs, and what an agent did with tools of its own is its own business.
    """
    talk = list(talk)
    answered = {item["call_id"] for item in _given(talk) if item["type"] == "function_call_output"}
    told: list[JSON] = []
    if instructions:
        told.append({"role": "system", "content": instructions})
    for message in talk:
        for one in _messages(message, answered):
            _put(told, one)
    return told


def as_items(talk: Iterable[Message]) -> list[JSON]:
    """Return the talk as Open Responses input items, without tool calls that have no output."""
    talk = list(talk)
    every = [item for message in talk for item in _items(message)]
    answered = {item.get("call_id") for item in every if item["type"] == "function_call_output"}
    return [
        item for item in every if item["type"] != "function_call" or item.get("call_id") in answered
    ]


def text_in(content: Any) -> str:
    """Return the text of content that is a string or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "\n".join(
        part["text"]
        for part in parts
        if isinstance(part, dict) and part.get("type") in _TEXTS and part.get("text")
    )


def is_blank(text: str, parts: Iterable[JSON] | None) -> bool:
    """Tell whether a message says nothing: no word in its text, and no part that is not text.

    A part that has nothing but its type is none.
    """
    return not text.strip() and all(
        part.get("type") in _TEXTS or part.keys() <= {"type", "text"} for part in parts or ()
    )


def _given(talk: Sequence[Message]) -> Iterator[JSON]:
    for message in talk:
        yield from items_of(message)


def _messages(message: Message, answered: set[str]) -> Iterator[JSON]:
    """Yield a stored message as Chat Completions messages."""
    given = items_of(message)
    if given:
        for item in given:
            yield from _item_as_message(item, answered)
        return
    calls = [
        _call(item)
        for item in message.output or ()
        if item["type"] == "function_call" and item["call_id"] in answered
    ]
    if calls:
        yield {"role": "assistant", "content": message.text or None, "tool_calls": calls}
    elif message.text or message.parts:
        content = _chat_content(message.parts) or message.text
        yield {"role": message.role, "content": content}


def _item_as_message(item: JSON, answered: set[str]) -> Iterator[JSON]:
    kind = item["type"]
    if kind == "message":
        yield {"role": item["role"], "content": _chat_content(item["content"])}
    elif kind == "function_call" and item["call_id"] in answered:
        yield {"role": "assistant", "content": None, "tool_calls": [_call(item)]}
    elif kind == "function_call_output":
        output = item["output"]
        content = output if isinstance(output, str) else text_in(output)
        yield {"role": "tool", "tool_call_id": item["call_id"], "content": content}


def _put(told: list[JSON], message: JSON) -> None:
    """Add a message; calls that were made together are one message, as servers want them."""
    before = told[-1] if told else {}
    if message.get("tool_calls") and before.get("role") == "assistant" and not message["content"]:
        calls = [*before.get("tool_calls", ()), *message["tool_calls"]]
        told[-1] = {**before, "tool_calls": calls}
    else:
        told.append(message)


def _call(item: JSON) -> JSON:
    function = {"name": item["name"], "arguments": item["arguments"]}
    return {"id": item["call_id"], "type": "function", "function": function}


def _chat_content(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    return [_chat_part(part) for part in content if flaw(part) is None]


def _chat_part(part: JSON) -> JSON:
    """Return a content part of Open Responses in the words of Chat Completions; others as is."""
    match part.get("type"):
        case "input_text" | "output_text":
            return {"type": "text", "text": part.get("text") or ""}
        case "input_image" if part.get("image_url"):
            image = {"url": part["image_url"]}
            if part.get("detail"):
                image["detail"] = part["detail"]
            return {"type": "image_url", "image_url": image}
        case "input_file":
            given = ("file_data", "file_id", "filename", "file_url")
            return {"type": "file", "file": {key: part[key] for key in given if part.get(key)}}
    return part


def _items(message: Message) -> Iterator[JSON]:
    """Yield a stored message as Open Responses items."""
    given = items_of(message)
    if given:
        yield from ({key: item[key] for key in item if key != "status"} for item in given)
    elif message.output:
        for item in message.output:
            yield from _said(item)
    elif message.text or message.parts:
        sound = [part for part in message.parts or () if flaw(part) is None]
        content = [_item_part(part, message.role) for part in sound] or message.text
        yield {"type": "message", "role": message.role, "content": content}


def _said(item: JSON) -> Iterator[JSON]:
    """Yield an answer's item as input; ids of our log mean nothing to the agent's server."""
    match item["type"]:
        case "message":
            text = "".join(
                part.get("text") or part.get("refusal") or "" for part in item["content"]
            )
            if text:
                yield {"type": "message", "role": "assistant", "content": text} | _phase(item)
        case "function_call":
            yield _only(item, "type", "call_id", "name", "arguments")
        case "function_call_output":
            yield _only(item, "type", "call_id", "output")


def _phase(item: JSON) -> JSON:
    return _only(item, "phase") if item.get("phase") else {}


def _only(item: JSON, *keys: str) -> JSON:
    return {key: item[key] for key in keys}


def _item_part(part: Mapping[str, Any], role: str) -> JSON:
    """Return a content part of Chat Completions in the words of Open Responses; others as is."""
    match part.get("type"):
        case "text":
            kind = "output_text" if role == "assistant" else "input_text"
            return {"type": kind, "text": part.get("text") or ""}
        case "image_url":
            return {"type": "input_image", "image_url": picture(part), "detail": "auto"}
        case "file" if isinstance(part.get("file"), dict):
            return {"type": "input_file", **part["file"]}
    return dict(part)
