"""Log lines: for people, or one JSON object each; with the ids of the call and the request at work.

The ids travel in context variables, so that whoever logs while a call or a run is at work need not
know them: also a handler, a Python agent and a library below it.
"""

from __future__ import annotations

import logging
import sys
import time
from contextvars import ContextVar
from typing import Any

import msgspec

from perdure.redaction import redacted
from perdure.settings import Settings
from perdure.steering import harmless
from perdure.wire import clean

CALL: ContextVar[str] = ContextVar("perdure.call", default="")
"""The `x-request-id` of the HTTP call that is being answered."""
REQUEST: ContextVar[str] = ContextVar("perdure.request", default="")
"""The id of the request (`resp_…`) that is at work."""

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s%(about)s"


def set_up(settings: Settings) -> None:
    """Send this process's log lines to standard error, as the settings say."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_Ids())
    as_json = settings.log_format == "json"
    handler.setFormatter(JsonLines() if as_json else TextLines(TEXT))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])


class _Ids(logging.Filter):
    """Gives each line the ids of its context; never drops one."""

    def filter(self, record: logging.LogRecord) -> bool:
        call, request = CALL.get(), REQUEST.get()
        record.call_id, record.request_id = call, request
        new = request and request not in record.getMessage()
        told = [f"request {request}"] if new else []
        told += [f"call {call}"] if call else []
        record.about = f" ({', '.join(told)})" if told else ""
        return True


class TextLines(logging.Formatter):
    """A line for people, its traceback included, without what looks like a secret.

    What follows its first line is indented, so that no text from outside looks like a line of ours,
    and no sign in it steers a terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        lines = redacted(super().format(record)).splitlines()
        return "\n  ".join(harmless(line) for line in lines)


class JsonLines(logging.Formatter):
    """One object a line: time, level, logger, message, the ids, and the exception if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(record.getMessage()),
        }
        for name in ("request_id", "call_id"):
            if value := getattr(record, name, ""):
                line[name] = value
        if record.exc_info:
            line["exception"] = redacted(self.formatException(record.exc_info))
        return msgspec.json.encode(clean(line)).decode()
