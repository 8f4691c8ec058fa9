"""The script of one call: what to answer, and how to go wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

WIDE = "é€😀"


class Script(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """See the package's docstring for each key."""

    name: str = ""
    frames: list[Any] | None = None
    chunks: int = 20
    rate: float = 0
    size: int = 0
    head_s: float = 0
    ttft_s: float = 0
    status: int = 200
    retry_after: str | int | float | None = None
    retry_after_ms: int | float | None = None
    body: str = "openai"
    hang_up: bool = False
    stall_at: int | None = None
    gate_at: int | None = None
    gate: str = ""
    drop_at: int | None = None
    clean_eof_at: int | None = None
    done_at: int | None = None
    error_at: int | None = None
    error_shape: str = "openai"
    garbage_at: int | None = None
    fail_times: int | None = None
    flood: bool = False
    split_utf8: bool = False
    newline: Literal["\n", "\r\n", "\r"] = "\n"
    comments: bool = False
    reasoning: int = 0
    reasoning_key: Literal["reasoning_content", "reasoning"] = "reasoning_content"
    parts: bool = False
    refusal: str = ""
    tool_calls: list[dict[str, str]] = []
    usage: Literal["last", "each", "beside", "none"] = "last"
    finish: str | None = None
    done: bool = True
    reject_stream_options: bool = False
    reject_continue: bool = False
    reject_max_tokens: bool = False
    raw: str = ""
    whole: bool = False
    hold: bool = False
    tail_s: float = 0
    content_type: str = "text/event-stream"
    framing: Literal["chunked", "length", "close"] = "chunked"

    def healthy(self) -> Script:
        """Return the same script without its faults."""
        return msgspec.structs.replace(
            self,
            status=200,
            hang_up=False,
            stall_at=None,
            drop_at=None,
            clean_eof_at=None,
            done_at=None,
            error_at=None,
            garbage_at=None,
        )

    def fault(self, index: int) -> str:
        """Return what happens instead of chunk `index`: `stall`, `drop` … or nothing."""
        for name in ("stall", "drop", "clean_eof", "done", "error", "garbage"):
            if getattr(self, f"{name}_at") == index:
                return name
        return ""


def word(index: int, script: Script) -> str:
    """Return the text of one chunk: `w7 `, filled up to `size`."""
    text = f"w{index}" + (WIDE if script.split_utf8 else "")
    return text.ljust(script.size - 1, "x") + " "


def text_of(script: Script, chunks: int | None = None) -> str:
    """Return the whole answer, or its first `chunks` chunks."""
    count = script.chunks if chunks is None else chunks
    return "".join(word(index, script) for index in range(count))


def read_script(body: dict[str, Any], answers: Mapping[str, str]) -> tuple[str, Script]:
    """Return the script for a request's body, as text and parsed; raises `ValueError`.

    Args:
        body: with the script in it, or with a question of `answers` as its last user message.
        answers: scripts as JSON, by question.

    """
    users = [message for message in body.get("messages", []) if message.get("role") == "user"]
    content = users[-1].get("content") if users else ""
    if isinstance(content, list):
        content = "".join(part.get("text", "") for part in content)
    for text in (answers.get(content, ""), content or "", body.get("model") or ""):
        if text.startswith("{"):
            value, end = json.JSONDecoder().raw_decode(text)
            return text[:end], msgspec.convert(value, Script)
    return "", Script()
