"""How real servers say that something went wrong: inside a stream, and as an HTTP body."""

from __future__ import annotations

import json
from typing import Any

SAID = "upstream exploded"

ERRORS: dict[str, Any] = {
    "text": {"error": SAID},
    "openai": {
        "error": {"message": SAID, "type": "server_error", "param": None, "code": "overloaded"},
    },
    "vllm": {"object": "error", "message": SAID, "type": "InternalServerError", "code": 500},
    "flat": {
        "type": "error",
        "code": "server_error",
        "message": SAID,
        "param": None,
        "sequence_number": 3,
    },
    "nested": {
        "type": "error",
        "error": {"type": "overloaded_error", "code": "overloaded", "message": SAID},
    },
    "failed": {
        "type": "response.failed",
        "response": {"status": "failed", "error": {"code": "server_error", "message": SAID}},
    },
    "databricks": {"databricks_output": {"error": {"error_code": "INTERNAL", "message": SAID}}},
    "databricks_text": {"databricks_output": {"error": SAID}},
    "number": {"error": 500},
}
"""Error frames, by who sends them; `nested` comes with `event: error`."""

BODIES: dict[str, tuple[str, str]] = {
    "openai": ("application/json", json.dumps({"error": {"message": SAID, "code": "bad"}})),
    "text": ("application/json", json.dumps({"error": SAID})),
    "databricks": (
        "application/json",
        json.dumps({"error_code": "REQUEST_LIMIT_EXCEEDED", "message": SAID}),
    ),
    "fastapi": ("application/json", json.dumps({"detail": SAID})),
    "fastapi_list": (
        "application/json",
        json.dumps({"detail": [{"loc": ["body", "messages"], "msg": SAID, "type": "missing"}]}),
    ),
    "prefill": ("application/json", json.dumps({"error": {"message": "No prefill here."}})),
    "html": (
        "text/html",
        f"<html><head><title>502 {SAID}</title></head><body><h1>Bad</h1></body></html>",
    ),
    "plain": ("text/plain", SAID),
    "empty": ("text/plain", ""),
    "huge": ("text/plain", SAID + " " + "x" * 1_000_000),
}
"""Bodies of HTTP errors: `(content type, text)`."""
