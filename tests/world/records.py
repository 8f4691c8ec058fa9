"""What a client was shown: its memory, which the checker holds against the final log."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

TERMINAL_TYPES = {"response.completed", "response.incomplete", "response.failed"}
TERMINAL_STATUSES = {"completed", "failed", "cancelled"}


def canonical(event: bytes | str | dict[str, Any]) -> bytes:
    """Return an event's JSON in one spelling, for what was embedded in another document."""
    loaded = event if isinstance(event, dict) else json.loads(event)
    return json.dumps(loaded, sort_keys=True, ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Shown:
    """One event as a client got it: when (monotonic seconds), its number, its bytes.

    `exact`: `data` holds the very bytes of the event, not a spelling of our own.
    """

    at: float
    number: int
    data: bytes
    exact: bool = True

    @property
    def terminal(self) -> bool:
        return json.loads(self.data)["type"] in TERMINAL_TYPES


@dataclass(frozen=True, slots=True)
class Partial:
    """A text as a client got it, with the status and the number it was taken at."""

    at: float
    number: int
    status: str
    text: str


@dataclass(frozen=True, slots=True)
class Window:
    """One connection: its cursor and how it ended (`whole`, `cut`, `204`, `ws 1012`)."""

    after: int | None
    ended: str


@dataclass(slots=True)
class Record:
    """Everything one client was shown of one request, over all its connections."""

    request_id: str
    name: str
    after: int = -1
    shown: list[Shown] = field(default_factory=list)
    partials: list[Partial] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)

    @property
    def cursor(self) -> int:
        """The number of the last event seen, or where the client began."""
        return self.shown[-1].number if self.shown else self.after

    @property
    def over(self) -> bool:
        """Whether the client has been told that nothing follows."""
        if self.partials and self.partials[-1].status in TERMINAL_STATUSES:
            return True
        return bool(self.shown) and self.shown[-1].terminal

    def event(self, number: int, data: bytes, *, exact: bool = True) -> None:
        self.shown.append(Shown(time.monotonic(), number, data, exact))

    def partial(self, number: int, status: str, text: str | None) -> None:
        self.partials.append(Partial(time.monotonic(), number, status, text or ""))

    def window(self, after: int | None, ended: str) -> None:
        self.windows.append(Window(after, ended))
