"""What servers say when they fail, turned into one plain sentence and a stable code.

Shared by every handler that speaks HTTP. Never shows headers, keys or tokens.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import html
import math
import re
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from perdure.errors import UpstreamError
from perdure.http import HttpError, RequestInvalid, ResponseBroken
from perdure.redaction import redacted

BODY_BYTES_MAX = 64 * 1024
SENTENCE_CHARACTERS_MAX = 500
RETRYABLE = frozenset({408, 409, 429})
TOO_MANY = 429
SERVER_ERRORS = 500
REDIRECTS = range(300, 400)

_NOT_SHOWN = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)


def refused(status: int, headers: Mapping[str, str], body: bytes, *secrets: str) -> UpstreamError:
    """Return the error for an HTTP status other than 200; `body` is its first 64 KiB at most."""
    said = clean(_said(headers.get("content-type", ""), body), *secrets)
    if status in REDIRECTS:
        said = "it wants to be asked at another address; set that as the base URL"
    detail = f"The agent's server answered with status {status}" + (f": {said}" if said else ".")
    return UpstreamError(
        detail,
        code=_code(status),
        retryable=status in RETRYABLE or status >= SERVER_ERRORS,
        retry_after_s=retry_after_s(headers),
        status=status,
    )


def unreachable(error: HttpError) -> UpstreamError:
    """Return the error for a connection that failed or broke."""
    if isinstance(error, ResponseBroken):
        return dropped(error.detail)
    if isinstance(error, RequestInvalid):
        return UpstreamError(f"The agent's server cannot be asked: {error.detail}")
    return UpstreamError(error.detail, code="upstream_unreachable", retryable=True)


def dropped(reason: str) -> UpstreamError:
    """Return the error for an answer that ended before its finish marker."""
    detail = f"The agent's server broke off its answer: {reason}"
    return UpstreamError(detail, code="upstream_dropped", retryable=True)


def garbage(reason: str) -> UpstreamError:
    """Return the error for what is not the dialect that the agent's server should speak."""
    detail = f"The agent's server sent what cannot be understood: {reason}"
    return UpstreamError(detail, code="upstream_garbage")


def no_stream(kind: str, body: bytes, *secrets: str) -> UpstreamError:
    """Return the error for a body with status 200 that is neither events nor JSON."""
    if "html" in kind or body.lstrip()[:1] == b"<":
        return garbage("a web page; is the base URL right?")
    return garbage(f"a text in place of a stream: {clean(_said(kind, body), *secrets)}")


def in_stream(frame: Any, *secrets: str, first: bool) -> UpstreamError | None:
    """Return the error that a frame of a 200 stream tells, in any known shape; None: it tells none.

    `first`: nothing was generated before it, so that the same call may be repeated, unless the
    frame's code is a status that forbids it.
    """
    told = _told(frame)
    if told is None:
        return None
    message, codes = _message(told), _codes(told)
    status = next((int(code) for code in codes if re.fullmatch(r"[45]\d\d", code)), 0)
    limited = status == TOO_MANY or any("rate_limit" in code.lower() for code in codes)
    forbidden = 0 < status < SERVER_ERRORS and status not in RETRYABLE
    name = next((code for code in codes if code.lower() not in message.lower()), "")
    said = clean(f"{message} ({name})" if message and name else message or name, *secrets)
    return UpstreamError(
        f"The agent's server failed: {said or 'it gave no reason'}",
        code="upstream_rate_limited" if limited else "upstream_error",
        retryable=first and not forbidden,
        status=status or None,
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `retry-after-ms` or `Retry-After` (seconds or a date) ask to wait."""
    seconds = _number(headers.get("retry-after-ms"), 1000) or _number(headers.get("retry-after"), 1)
    if seconds is None and (text := headers.get("retry-after")):
        try:
            date = email.utils.parsedate_to_datetime(text)
        except ValueError:
            return None
        date = date if date.tzinfo else date.replace(tzinfo=dt.UTC)
        seconds = max(0.0, date.timestamp() - time.time())
    return seconds


def clean(text: str, *secrets: str) -> str:
    """Return it as one short line that shows none of the secrets, nor what looks like one."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "…")
    text = " ".join(redacted(text).split())
    text = "".join(character for character in text if character.isprintable())
    if len(text) > SENTENCE_CHARACTERS_MAX:
        text = text[: SENTENCE_CHARACTERS_MAX - 1] + "…"
    return text


def _code(status: int) -> str:
    if status == TOO_MANY:
        return "upstream_rate_limited"
    if status in RETRYABLE or status >= SERVER_ERRORS:
        return "upstream_error"
    return "upstream_refused"


def _number(text: str | None, divisor: int) -> float | None:
    try:
        value = float(text or "") / divisor
    except ValueError:
        return None
    return max(0.0, value) if math.isfinite(value) else None


def _said(kind: str, body: bytes) -> str:
    """Return what an error body says: JSON of any known shape, a web page, or plain text."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = body.decode(errors="replace")
        return _page(text) if "html" in kind or text.lstrip()[:1] == "<" else text
    told = _told(value)
    return _message(value if told is None else told)


def _page(text: str) -> str:
    title = _TITLE.search(text)
    return html.unescape(title[1] if title else _NOT_SHOWN.sub(" ", text))


def _told(frame: Any) -> Any:
    """Return the part of a frame that holds the error, or None."""
    if not isinstance(frame, dict):
        return None
    if frame.get("error"):
        return frame["error"]
    inner = frame.get("databricks_output")
    if isinstance(inner, dict) and inner.get("error"):
        return inner["error"]
    if frame.get("type") == "response.failed":
        response = frame.get("response")
        return (response.get("error") if isinstance(response, dict) else None) or frame
    if frame.get("type") == "error" or frame.get("object") == "error":
        return frame
    return None


def _message(told: Any) -> str:
    if isinstance(told, dict):
        for key in ("message", "detail", "msg", "error", "title", "error_code"):
            if told.get(key):
                return _message(told[key])
        return ""
    if isinstance(told, list):
        return "; ".join(filter(None, map(_message, told[:5])))
    return str(told)


def _codes(told: Any) -> list[str]:
    """Return the machine-readable names and numbers that an error carries, the best one first."""
    if isinstance(told, int):
        return [str(told)]
    if not isinstance(told, dict):
        return []
    codes = (told.get(key) for key in ("code", "error_code", "type"))
    return [str(code) for code in codes if code and code not in {"error", "response.failed"}]
