"""A wire between browser and server that a test can cut, without the browser being told."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self


class Relay:
    """Passes bytes on to a port of this machine; `cut` closes every connection and refuses more."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.whole = True
        self.cuts = 0
        self.wires: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        self.server.close()

    def cut(self) -> None:
        """Break what is open, and refuse what comes until `mend`."""
        self.whole = False
        self.break_all()

    def mend(self) -> None:
        self.whole = True

    def break_all(self) -> None:
        """Break what is open now, as a proxy does that lets no stream live long."""
        self.cuts += 1
        for writer in list(self.wires):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.whole:
            writer.transport.abort()
            return
        try:
            there = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(self._pass(reader, there[1]), self._pass(there[0], writer))

    async def _pass(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        self.wires.add(to)
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                to.write(data)
                await to.drain()
        self.wires.discard(to)
        to.transport.abort() if not self.whole else to.close()
