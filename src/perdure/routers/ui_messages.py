"""The AI SDK's `UIMessage`: read as a question, and made of stored messages. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import msgspec

from perdure.errors import Invalid
from perdure.model import JSON, Message
from perdure.routers.ui_turns import BROKE_OFF, parsed
from perdure.talk import items_of, picture


def content_of(message: JSON) -> tuple[list[JSON] | None, str]:
    """Return a question's content parts (None = plain text) and its text; raises `Invalid`."""
    if isinstance(message.get("content"), str) and not message.get("parts"):
        return None, message["content"]
    given = message.get("parts")
    if not isinstance(given, list):
        raise Invalid("A message must have parts.", code="invalid_messages")
    parts = [made for part in given if isinstance(part, dict) and (made := _content_part(part))]
    text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    return (None if all(part["type"] == "text" for part in parts) else parts), text


def _content_part(part: JSON) -> JSON | None:
    if part.get("type") == "text" and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if part.get("type") == "file" and isinstance(part.get("url"), str):
        if str(part.get("mediaType", "")).startswith("image/"):
            return {"type": "image_url", "image_url": {"url": part["url"]}}
        file = {"filename": part.get("filename") or "file", "file_data": part["url"]}
        return {"type": "file", "file": file}
    return None


class Said(msgspec.Struct, frozen=True):
    """What an answer has said so far, as items; `own`: the names of the tools that the page has."""

    items: Sequence[JSON] = ()
    own: Collection[str] = ()


def ui_message(turn: Sequence[Message], said: Mapping[str, Said]) -> JSON:
    """Return a `UIMessage`: a stored message, or an answer with what joined it.

    `said`: by the ids of the answers among them.
    """
    first = turn[0]
    parts = list(answer_parts(turn, said)) or list(_question_parts(first))
    requests = [message.request_id for message in turn if message.request_id]
    metadata = {"request_id": requests[-1]} if requests else {}
    role = first.role if first.role in ("user", "assistant") else "system"
    return {"id": first.id, "role": role, "parts": parts, "metadata": metadata}


def _question_parts(message: Message) -> Iterator[JSON]:
    if message.text:
        yield {"type": "text", "text": message.text}
    for part in message.parts or ():
        if part.get("type") == "image_url":
            yield {"type": "file", "mediaType": "image/*", "url": picture(part)}


def answer_parts(turn: Sequence[Message], said: Mapping[str, Said]) -> Iterator[JSON]:
    """Yield the parts of a turn's answers that have said something, a step each."""
    given = {item["call_id"]: item for message in turn for item in outputs_in(items_of(message))}
    for message in turn:
        answer = said.get(message.id, Said())
        if not answer.items:
            continue
        results = {item["call_id"]: item for item in outputs_in(answer.items)}
        yield {"type": "step-start"}
        for item in answer.items:
            match item["type"]:
                case "message":
                    for part in item.get("content", ()):
                        text = part.get("text") or part.get("refusal") or ""
                        yield {"type": "text", "text": text, "state": "done"}
                        yield from sources(part.get("annotations", ()), item["id"])
                case "reasoning":
                    text = "".join(part["text"] for part in item.get("summary", ()))
                    yield {"type": "reasoning", "text": text, "state": "done"}
                case "function_call":
                    ended = _result(results.get(item["call_id"])) or _given(
                        given.get(item["call_id"])
                    )
                    yield _call_part(item, answer.own) | ended


def outputs_in(items: Iterable[JSON]) -> Iterator[JSON]:
    """Yield those of some items that are outputs of tools."""
    return (item for item in items if item["type"] == "function_call_output")


def _call_part(item: JSON, own: Collection[str]) -> JSON:
    """Return a tool call that waits; only of its own tools does the page know the types."""
    name, given = item["name"], parsed(item["arguments"] or "{}")
    kind = {"type": f"tool-{name}"} if name in own else {"type": "dynamic-tool", "toolName": name}
    call = kind | {"toolCallId": item["call_id"], "input": given}
    if isinstance(given, str):  # no JSON
        return call | {"state": "output-error", "errorText": BROKE_OFF}
    return call | {"state": "input-available"}


def sources(annotations: Sequence[JSON], item_id: str) -> Iterator[JSON]:
    """Yield the links of a text."""
    for index, told in enumerate(annotations):
        if told.get("url"):
            link = {"url": told["url"], "title": told.get("title") or ""}
            yield {"type": "source-url", "sourceId": f"{item_id}-{index}", **link}


def _result(output: JSON | None) -> JSON:
    """Return how a call ended that the agent carried out by itself."""
    if output is None:
        return {}
    return {
        "state": "output-available",
        "output": parsed(output["output"]),
        "providerExecuted": True,
    }


def _given(output: JSON | None) -> JSON:
    """Return how a call ended that the page carried out."""
    if output is None:
        return {}
    said = parsed(output["output"])
    if output.get("status") == "incomplete":
        return {"state": "output-error", "errorText": str(said)}
    return {"state": "output-available", "output": said}
