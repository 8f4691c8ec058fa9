"""The dialect of the app in which this idea was born, so that its front end works as it is.

The agent's own events as plain `data:` frames, between `chat.created` and `stream.completed`.
"""

from __future__ import annotations

from perdure import model
from perdure.core import Core
from perdure.model import JSON, Status
from perdure.routers.streams import KEEPALIVE, EventStream, Outlet, patience_s
from perdure.wire import encode, kind

DONE = b"data: [DONE]\n\n"
LIFECYCLE = frozenset(
    f"response.{name}"
    for name in ("created", "queued", "in_progress", "completed", "incomplete", "failed")
)


class AgentEvents(EventStream):
    """One answer in the origin's dialect.

    Args:
        core, row: whose answer.
        created: the chat is new: it is told first.
        headers: beside those of every stream.

    """

    hints = False

    def __init__(
        self, core: Core, row: model.Request, headers: dict[str, str], *, created: bool
    ) -> None:
        super().__init__(core, None, headers)
        self.row = row
        self.created = created

    async def fill(self, outlet: Outlet) -> bool:
        """Send the events to the end, then how it ended."""
        if self.created and not await outlet.put(_frame(_created(self.row))):
            return False
        idle_s = patience_s(self.core)
        self.core.metrics.attach("agent_events", -1)
        with self.core.tails.reader(self.row.id, -1) as reader:
            while not reader.ended:
                batch = await reader.read(idle_s)
                events = batch.events if batch else ()
                told = b"".join(_framed(event) for event in events if kind(event) not in LIFECYCLE)
                if not await outlet.put(told or KEEPALIVE):
                    return False
        row = await self.core.store.request(self.row.id, self.row.user_id)
        return await outlet.put(b"".join(map(_frame, _ending(row))) + DONE)


def _created(row: model.Request) -> JSON:
    return {"type": "chat.created", "chat_id": row.chat_id}


def _ending(row: model.Request) -> list[JSON]:
    completed = {
        "type": "stream.completed",
        "trace_id": row.trace_id,
        "trace_summary": None,
        "is_error": row.status is Status.FAILED,
    }
    if row.error is None:
        return [completed]
    error = {"type": "error", "error": row.error.code, "message": row.error.message}
    return [error, completed]


def _frame(event: JSON) -> bytes:
    return _framed(encode(event))


def _framed(event: bytes) -> bytes:
    return b"data: %b\n\n" % event
