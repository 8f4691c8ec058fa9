"""HTTP/1.1 responses from a bare socket: knows whether a body ended whole or was cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Literal
from urllib.parse import urlsplit

Ended = Literal["open", "whole", "cut"]

BLOCK_BYTES = 65536


class Response:
    """One response whose body is read block by block; `ended` tells how it stopped."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ended: Ended = "open"

    async def head(self) -> None:
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        pairs = (line.split(":", 1) for line in lines[1:] if ":" in line)
        self.headers = {name.strip().lower(): value.strip() for name, value in pairs}

    async def blocks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes; ends on its end or on a cut, never raises for a cut."""
        try:
            async for block in self._decoded():
                yield block
            self.ended = "whole"
        except (OSError, asyncio.IncompleteReadError, EOFError):
            self.ended = "cut"

    def _decoded(self) -> AsyncIterator[bytes]:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunks()
        return self._sized(int(self.headers.get("content-length", "0")))

    async def _chunks(self) -> AsyncIterator[bytes]:
        while True:
            line = await self._reader.readline()
            if not line.endswith(b"\n"):
                raise EOFError
            size = int(line.split(b";")[0], 16)
            block = await self._reader.readexactly(size + 2)
            if size == 0:
                return
            yield block[:-2]

    async def _sized(self, left: int) -> AsyncIterator[bytes]:
        while left:
            block = await self._reader.read(min(left, BLOCK_BYTES))
            if not block:
                raise EOFError
            left -= len(block)
            yield block

    async def body(self) -> bytes:
        return b"".join([block async for block in self.blocks()])

    def drop(self) -> None:
        """Go away without a word, as a closed laptop does."""
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            return


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    return await asyncio.open_connection(parts.hostname, parts.port, limit=2**24)


def encode(method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Return the bytes of one request."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def request(
    method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Response:
    """Send a request and return its response, head read; raises OSError or EOFError."""
    reader, writer = await connect(url)
    response = Response(reader, writer)
    try:
        writer.write(encode(method, url, headers or {}, body))
        await writer.drain()
        await response.head()
    except BaseException:
        response.drop()
        raise
    return response
