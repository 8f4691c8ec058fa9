"""Readers of one request by SSE, WebSocket and polling; each re-attaches from its cursor."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Mapping
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as ws_connect

from tests.world import wire
from tests.world.records import TERMINAL_STATUSES, Record

RETRY_S = (0.02, 0.08)
LOST = (OSError, EOFError, asyncio.IncompleteReadError)


class Reader:
    """What the three have in common: a record, a place to read, a wish to drop the line at times.

    Args:
        url: the server's address, `http://127.0.0.1:1234`.
        record: where everything shown is kept.
        dice: decides the pauses and, with `fickle`, when to drop the line.
        fickle: drop the connection at random instants and come back.

    """

    def __init__(
        self,
        url: str,
        record: Record,
        *,
        dice: random.Random | None = None,
        fickle: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.url = url
        self.record = record
        self.dice = dice or random.Random(0)
        self.fickle = fickle
        self.headers = dict(headers or {})
        self.refused = False

    async def follow(self, *, within_s: float = 60) -> Record:
        """Read window after window until the end was told; fails after `within_s` seconds."""
        try:
            async with asyncio.timeout(within_s):
                while not (self.record.over or self.refused):
                    await self.window()
                    if not self.record.over:
                        await asyncio.sleep(self.dice.uniform(*RETRY_S))
        except TimeoutError:
            raise AssertionError(self._stuck(within_s)) from None
        return self.record

    def _stuck(self, within_s: float) -> str:
        record = self.record
        silent_s = time.monotonic() - record.shown[-1].at if record.shown else within_s
        attempts = sum(b'"response.in_progress"' in shown.data for shown in record.shown)
        return (
            f"{record.name} was not told the end of {record.request_id} in {within_s} s;"
            f" cursor {record.cursor}, {attempts} attempts, nothing for {silent_s:.1f} s,"
            f" last windows {record.windows[-5:]}"
        )

    async def window(self) -> None:
        """Open one connection and read it to its end."""
        raise NotImplementedError

    def _patience(self) -> int:
        """Return how many bytes or messages this window lasts."""
        return int(10 ** self.dice.uniform(0, 4.5)) if self.fickle else 2**60


class SseReader(Reader):
    """`GET …/stream` over a bare socket, resumed with `Last-Event-ID`."""

    async def window(self) -> None:
        after = self.record.cursor
        try:
            response = await self.open(after)
        except LOST as lost:
            self.record.window(after, f"refused {type(lost).__name__}")
            return
        try:
            ended = await self._read(response)
        finally:
            response.drop()
        self.record.window(after, ended)

    async def open(self, after: int) -> wire.Response:
        headers = {"Accept": "text/event-stream", **self.headers}
        if after >= 0:
            headers["Last-Event-ID"] = str(after)
        target = f"{self.url}/api/requests/{self.record.request_id}/stream"
        return await wire.request("GET", target, headers)

    async def _read(self, response: wire.Response) -> str:
        if response.status != 200:
            self.refused = response.status < 500
            return str(response.status)
        frames, left = Frames(), self._patience()
        async for block in response.blocks():
            for number, data in frames.feed(block[:left]):
                self.record.event(number, data)
            left -= len(block)
            if left <= 0:
                return "dropped"
        return response.ended


class Frames:
    """Cuts a byte stream into SSE frames; a frame that is not whole is never shown."""

    def __init__(self) -> None:
        self._rest = b""
        self.retry_ms: int | None = None

    def feed(self, block: bytes) -> list[tuple[int, bytes]]:
        """Return the events completed by this block: their ids and data."""
        *frames, self._rest = (self._rest + block).split(b"\n\n")
        return [event for event in map(self._event, frames) if event is not None]

    def _event(self, frame: bytes) -> tuple[int, bytes] | None:
        fields: dict[bytes, bytes] = {}
        for line in frame.split(b"\n"):
            name, _, value = line.partition(b":")
            fields[name] = value.removeprefix(b" ")
        if b"retry" in fields:
            self.retry_ms = int(fields[b"retry"])
        if b"data" not in fields:
            return None
        return int(fields[b"id"]), fields[b"data"]


class WsReader(Reader):
    """The WebSocket of one request; the first window begins with a snapshot if `snapshot`."""

    def __init__(self, *args: Any, snapshot: bool = True, **more: Any) -> None:
        super().__init__(*args, **more)
        self.snapshot = snapshot

    async def window(self) -> None:
        fresh = self.snapshot and not self.record.shown and self.record.after < 0
        after = None if fresh else self.record.cursor
        try:
            async with self.connection(after) as connection:
                ended = await self._read(connection)
        except LOST as lost:
            ended = f"refused {type(lost).__name__}"
        except websockets.InvalidStatus as refusal:
            self.refused = refusal.response.status_code < 500
            ended = str(refusal.response.status_code)
        except websockets.InvalidHandshake as refusal:
            ended = f"refused {type(refusal).__name__}"
        self.record.window(after, ended)

    def connection(self, after: int | None) -> ws_connect:
        base = self.url.replace("http", "ws", 1)
        query = "" if after is None else f"?after={after}"
        target = f"{base}/api/requests/{self.record.request_id}/stream{query}"
        return ws_connect(
            target,
            additional_headers=self.headers,
            compression=None,
            max_size=None,
            ping_interval=None,
            close_timeout=2,
            proxy=None,
        )

    async def _read(self, connection: ClientConnection) -> str:
        left = self._patience()
        try:
            async for message in connection:
                self._take(json.loads(message))
                left -= 1
                if left <= 0:
                    connection.transport.abort()
                    return "dropped"
        except websockets.ConnectionClosed:
            pass
        code = connection.close_code or 0
        self.refused = 4400 <= code < 4500
        return f"ws {code}"

    def _take(self, message: dict[str, Any]) -> None:
        if "event" in message:
            event = message["event"]
            self.record.event(event["sequence_number"], _spelled(event), exact=False)
        elif "partial_content" in message and message["status"] not in TERMINAL_STATUSES:
            self.record.after = message["sequence_number"]
            self.record.partial(self.record.after, message["status"], message["partial_content"])
        elif "status" in message:
            self._last(message)

    def _last(self, message: dict[str, Any]) -> None:
        number = message.get("sequence_number", self.record.cursor)
        self.record.partial(number, message["status"], _text(message))


def _spelled(event: dict[str, Any]) -> bytes:
    return json.dumps(event, sort_keys=True, ensure_ascii=False).encode()


def _text(status: dict[str, Any]) -> str:
    """Return the text a client would show: the final one, or what there is of it."""
    return str(status.get("final_response") or status.get("partial_content") or "")


class Poller(Reader):
    """`GET …/status` again and again, each time on a connection of its own.

    Args:
        every_s: seconds between two polls; ignored with `wait_s`.
        wait_s: seconds of long polling; 0 = short polls.

    """

    def __init__(self, *args: Any, every_s: float = 0.15, wait_s: int = 0, **more: Any) -> None:
        super().__init__(*args, **more)
        self.every_s = every_s
        self.wait_s = wait_s

    async def window(self) -> None:
        last = self.record.partials[-1].number if self.record.partials else -1
        query = f"?wait_s={self.wait_s}&after={last}" if self.wait_s else ""
        target = f"{self.url}/api/requests/{self.record.request_id}/status{query}"
        try:
            await self._poll(target)
        except LOST as lost:
            self.record.window(last, f"refused {type(lost).__name__}")
        if not self.wait_s and not self.record.over:
            await asyncio.sleep(self.every_s * self.dice.uniform(0.5, 1.5))

    async def _poll(self, target: str) -> None:
        response = await wire.request("GET", target, {"Connection": "close", **self.headers})
        try:
            body = await response.body()
        finally:
            response.drop()
        if response.ended == "cut":
            raise EOFError
        if response.status != 200:
            self.refused = response.status < 500 and response.status != 304
            self.record.window(None, str(response.status))
            return
        status = json.loads(body)
        self.record.partial(status["sequence_number"], status["status"], _text(status))
