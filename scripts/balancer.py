"""A small load balancer for tests and for the local cluster: each connection goes to one server.

It knows TCP and nothing else: no sessions, no retries, no buffering. Who is cut off is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterator, Sequence

BLOCK_BYTES = 65536
CONNECT_S = 2.0


class Balancer:
    """Passes each connection on to the next server that takes it.

    Args:
        ports: where the servers listen, on 127.0.0.1; they may be down at times.
        host: where to listen.

    """

    def __init__(self, ports: Sequence[int], host: str = "127.0.0.1") -> None:
        self._ports = list(ports)
        self._host = host
        self._turns: Iterator[int] = itertools.count()
        self._server: asyncio.Server | None = None
        self._lines: set[asyncio.Task[None]] = set()
        self.port = 0

    async def open(self, port: int = 0) -> None:
        """Listen; port 0 = a free one, told by `port`."""
        self._server = await asyncio.start_server(self._taken, self._host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and cut every line."""
        if self._server is not None:
            self._server.close()
        for line in self._lines:
            line.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        if line is None:
            return
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)
        try:
            await self._pass_on(reader, writer)
        except asyncio.CancelledError:
            pass  # the balancer closes
        finally:
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await self._connect()
        if behind is None:
            return
        try:
            ways = [_copy(reader, behind[1]), _copy(behind[0], writer)]
            both = [asyncio.ensure_future(way) for way in ways]
            try:
                # Whichever side is through with its line, the other one has nobody to talk to.
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in both:
                    way.cancel()
                await asyncio.gather(*both, return_exceptions=True)
        finally:
            behind[1].transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Return a line to the next server that takes it; None: nobody does."""
        turn = next(self._turns)
        for offset in range(len(self._ports)):
            port = self._ports[(turn + offset) % len(self._ports)]
            with contextlib.suppress(OSError):
                async with asyncio.timeout(CONNECT_S):
                    return await asyncio.open_connection("127.0.0.1", port)
        return None


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the source ends or either side is gone; what was read is written out first."""
    with contextlib.suppress(OSError):
        while block := await reader.read(BLOCK_BYTES):
            writer.write(block)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        await writer.drain()
