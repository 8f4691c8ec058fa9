"""Following a response: its events without ids, or its end."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from perdure import model
from perdure.core import Core
from perdure.errors import NotFound
from perdure.routers.streams import KEEPALIVE, EventStream, Outlet, left, patience_s
from perdure.tail import Batch, Reader, http_chunk
from perdure.wire import kind_bytes

DONE = b"data: [DONE]\n\n"


class ResponseStream(EventStream):
    """The events of a response after a cursor, then `[DONE]`.

    Frames have `event` and `data` only: with ids, the Python client chokes on every comment. A
    stream that cannot go on is cut off, since the clients take a clean end for the whole answer.
    """

    hints = False

    def __init__(self, core: Core, row: model.Request, after: int, *, owned: bool = False) -> None:
        super().__init__(core, None)
        self.row = row
        self.after = after
        self.owned = owned and row.transient

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream; a response that is not stored ends with the connection it came by."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self.owned:
                await discard(self.core, self.row)

    async def fill(self, outlet: Outlet) -> bool:
        """Send the events, each with a piece of its own: some clients parse piece by piece."""
        idle_s = patience_s(self.core)
        self.core.metrics.attach("responses", self.after)
        with self.core.tails.reader(self.row.id, self.after) as reader:
            while not reader.ended:
                idle = await outlet.listen(reader, idle_s, _chunks)
                batch = None if idle else await reader.read(idle_s)
                if not await self._put(outlet, reader, batch):
                    return False
        return await outlet.put(DONE)

    async def _put(self, outlet: Outlet, reader: Reader, batch: Batch | None) -> bool:
        if batch is None:
            return reader.ended or await outlet.put(KEEPALIVE)
        for event in batch.events:
            if not await outlet.put(frame(event)):
                return False
        return True


def _chunks(batch: Batch) -> bytes:
    return b"".join(http_chunk(frame(event)) for event in batch.events)


def frame(event: bytes) -> bytes:
    """Return an event's frame."""
    return b"event: %b\ndata: %b\n\n" % (kind_bytes(event), event)


async def ended(core: Core, row: model.Request, call: Request) -> bool:
    """Wait for the end of a response; False when the caller went away before it.

    Raises `Drained` when the server stops meanwhile.
    """
    reading = asyncio.create_task(_end_of(core, row))
    leaving = asyncio.create_task(left(call.receive))
    try:
        await asyncio.wait({reading, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            return False
        await reading
        return True
    finally:
        reading.cancel()
        leaving.cancel()
        await asyncio.gather(reading, leaving, return_exceptions=True)


async def discard(core: Core, row: model.Request) -> None:
    """Stop a response that is not stored, and remove it with its chat."""
    try:
        await core.acceptance.delete_chat(row.chat_id, row.user_id)
    except NotFound:
        return


async def _end_of(core: Core, row: model.Request) -> None:
    idle_s = patience_s(core)
    with core.tails.reader(row.id, row.sequence_number) as reader:
        while not reader.ended:
            await reader.read(idle_s)
