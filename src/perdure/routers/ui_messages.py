"""The AI SDK's `UIMessage`: read as a question, and made of stored messages. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from perdure.errors import Invalid
from perdure.model import JSON, Message


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


def ui_message(message: Message, output: list[JSON] | None) -> JSON:
    """Return a stored message as a `UIMessage`; `output` are an answer's items so far."""
    parts = list(_answer_parts(output)) if output else list(_question_parts(message))
    metadata = {"request_id": message.request_id} if message.request_id else {}
    role = message.role if message.role in ("user", "assistant") else "system"
    return {"id": message.id, "role": role, "parts": parts, "metadata": metadata}


def _question_parts(message: Message) -> Iterator[JSON]:
    if message.text:
        yield {"type": "text", "text": message.text}
    for part in message.parts or ():
        if part.get("type") == "image_url":
            url = part["image_url"]["url"] if isinstance(part["image_url"], dict) else ""
            yield {"type": "file", "mediaType": "image/*", "url": url}


def _answer_parts(output: list[JSON]) -> Iterator[JSON]:
    yield {"type": "step-start"}
    results = {i["call_id"]: i["output"] for i in output if i["type"] == "function_call_output"}
    for item in output:
        match item["type"]:
            case "message":
                for part in item.get("content", ()):
                    text = part.get("text") or part.get("refusal") or ""
                    yield {"type": "text", "text": text, "state": "done"}
            case "reasoning":
                text = "".join(part["text"] for part in item.get("summary", ()))
                yield {"type": "reasoning", "text": text, "state": "done"}
            case "function_call":
                yield _tool_part(item, results)


def _tool_part(item: JSON, results: dict[str, Any]) -> JSON:
    answered = item["call_id"] in results
    part = {
        "type": "dynamic-tool",
        "toolName": item["name"],
        "toolCallId": item["call_id"],
        "state": "output-available" if answered else "input-available",
        "input": _parsed(item["arguments"]),
    }
    return part | ({"output": _parsed(results[item["call_id"]])} if answered else {})


def _parsed(text: Any) -> Any:
    try:
        return msgspec.json.decode(text) if isinstance(text, str) else text
    except msgspec.DecodeError:
        return text
