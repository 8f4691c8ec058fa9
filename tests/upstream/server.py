"""The sockets: raw enough to stall, drop and lie; every call is remembered."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import struct
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self, cast
from urllib.parse import parse_qs, urlsplit

import httptools
import msgspec

from tests.upstream import frames
from tests.upstream.script import Script, read_script
from tests.upstream.shapes import BODIES


class Call(msgspec.Struct, kw_only=True):
    """One request, as `/log` shows it; `chunks` counts text chunks written so far.

    `closed_by`: "" = still going, `server` = ended by us (complete or as a fault), `client` = the
    caller closed the connection before the end. `connection` numbers TCP connections.
    """

    number: int
    connection: int
    path: str
    script: str
    headers: dict[str, str]
    body: Any
    began_at: float
    status: int = 0
    chunks: int = 0
    last_write_at: float = 0
    closed_at: float = 0
    closed_by: Literal["", "client", "server"] = ""
    complete: bool = False


class Upstream:
    """The server, on a thread and loop of its own; a context manager. Port 0 = a free one."""

    def __init__(self, port: int = 0) -> None:
        self.calls: list[Call] = []
        self.connections = 0
        self.connected: set[Connection] = set()
        self.seen: Counter[str] = Counter()
        self.answers: dict[str, str] = {}
        self.gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._changed = threading.Condition()
        self._listening = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._thread = threading.Thread(target=self._serve, name="upstream", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait()  # a stop before that would break the loop's first step
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def wait(self, holds: Callable[[Sequence[Call]], Any], timeout_s: float = 10) -> Call:
        """Block until `holds(calls)`; return the newest call. Fails with the log at the timeout."""
        done = self.hold(lambda: bool(self.calls and holds(self.calls)), timeout_s)
        assert done, f"the upstream did not see it within {timeout_s} s: {self.calls}"
        return self.calls[-1]

    async def until(self, holds: Callable[[Sequence[Call]], Any], timeout_s: float = 10) -> Call:
        """Wait as `wait` does, without blocking the caller's loop."""
        return await asyncio.to_thread(self.wait, holds, timeout_s)

    def open(self, gate: str) -> None:
        """Let the answers that wait at a gate go on."""
        self._loop.call_soon_threadsafe(self._open, gate)

    def _open(self, gate: str) -> None:
        self.gates[gate].set()

    def forget(self) -> None:
        """Empty the log, the counts behind `fail_times`, and the agreed answers."""
        with self._changed:
            self.answers.clear()
            self.calls.clear()
            self.seen.clear()

    def hold(self, ready: Callable[[], bool], timeout_s: float) -> bool:
        """Block until `ready()` or the timeout; return whether it is."""
        with self._changed:
            return self._changed.wait_for(ready, timeout_s)

    def changed(self) -> None:
        """Wake those who wait for something in the log."""
        with self._changed:
            self._changed.notify_all()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(
            self._loop.create_server(lambda: Connection(self), sock=self._listener)
        )
        self._listening.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        self._listener.close()
        for connection in self.connected:
            connection.transport.abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # sockets close in the loop's next turn


class Connection(asyncio.Protocol):
    """One TCP connection: reads requests one after the other, answers each by its script."""

    transport: asyncio.Transport

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        upstream.connections += 1
        self.number = upstream.connections
        self.call: Call | None = None
        self.task: asyncio.Task[None] | None = None
        self.writable = asyncio.Event()
        self.writable.set()
        self._expect()

    def _expect(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.target, self.headers, self.body = "", dict[str, str](), bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.upstream.connected.add(self)

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.abort()

    def eof_received(self) -> None:
        self.lost("client")
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.upstream.connected.discard(self)
        self.lost("client")

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def on_url(self, url: bytes) -> None:
        self.target += url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self._respond())

    def lost(self, by: Literal["client", "server"]) -> None:
        """Note once who ended the call, and stop answering."""
        if self.call is not None and not self.call.closed_by:
            self.call.closed_at, self.call.closed_by = time.time(), by
            self.upstream.changed()
            if by == "client" and self.task is not None:
                self.task.cancel()
        elif self.call is None and self.task is not None:
            self.task.cancel()

    def reset(self) -> None:
        """Break the connection with a TCP reset."""
        self.lost("server")
        linger = struct.pack("ii", 1, 0)
        self.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, linger
        )
        self.transport.abort()

    async def _respond(self) -> None:
        path, _, query = self.target.partition("?")
        if path.endswith("/log"):
            self.send_json(200, await self._log(query))
        elif path.endswith("/models"):
            self.send_json(200, {"object": "list", "data": [{"id": "demo", "object": "model"}]})
        elif path.endswith(("/chat/completions", "/responses", "/messages", "/invocations")):
            await self._complete(path)
        else:
            self.send_json(404, {"detail": f"no route {urlsplit(path).path}"})
        self._expect()
        self.call = self.task = None

    async def _log(self, query: str) -> dict[str, Any]:
        asked = {key: float(values[0]) for key, values in parse_qs(query).items()}
        calls = self.upstream.calls

        def enough() -> bool:
            closed = sum(1 for call in calls if call.closed_by)
            return len(calls) >= asked.get("calls", 0) and closed >= asked.get("closed", 0)

        await asyncio.to_thread(self.upstream.hold, enough, asked.get("wait_s", 0))
        return {"calls": [msgspec.structs.asdict(call) for call in calls]}

    async def _complete(self, path: str) -> None:
        body = json.loads(self.body or b"{}")
        try:
            text, script = read_script(body, self.upstream.answers)
        except ValueError as error:
            return self.send_json(400, {"error": {"message": f"bad script: {error}"}})
        upstream = self.upstream
        self.call = Call(
            number=len(upstream.calls),
            connection=self.number,
            path=path,
            script=text,
            headers=self.headers,
            body=body,
            began_at=time.time(),
        )
        upstream.calls.append(self.call)
        upstream.changed()
        upstream.seen[text] += 1
        if script.fail_times is not None and upstream.seen[text] > script.fail_times:
            script = script.healthy()
        await Answer(self, self.call, script).run()
        self.lost("server")
        return None

    def send_json(self, status: int, value: object) -> None:
        """Answer with a JSON body."""
        self.send(status, "application/json", json.dumps(value).encode())

    def send(self, status: int, kind: str, body: bytes, *extra: str) -> None:
        """Answer with a whole body."""
        self.send_head(status, kind, f"content-length: {len(body)}", *extra)
        self.transport.write(body)

    def send_head(self, status: int, kind: str, *headers: str) -> None:
        """Write the status line and the headers."""
        lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", *headers, "", ""]
        self.transport.write("\r\n".join(lines).encode())
        if self.call is not None:
            self.call.status, self.call.last_write_at = status, time.time()
            self.upstream.changed()


class Answer:
    """Plays one script on a connection."""

    def __init__(self, connection: Connection, call: Call, script: Script) -> None:
        self.connection, self.call, self.script = connection, call, script

    async def run(self) -> None:
        """Answer, or fail, as the script says."""
        script, connection = self.script, self.connection
        await asyncio.sleep(script.head_s)
        if script.hang_up:
            connection.reset()
        elif script.status != 200:
            self._refuse(script.status, script.body)
        elif script.reject_stream_options and "stream_options" in self.call.body:
            connection.send_json(400, {"error": {"message": "unknown field: stream_options"}})
        elif script.reject_continue and "continue_final_message" in self.call.body:
            connection.send_json(400, {"error": {"message": "continue_final_message: no"}})
        elif script.reject_max_tokens and "max_tokens" in self.call.body:
            connection.send_json(400, {"error": {"message": "Use 'max_completion_tokens'."}})
        elif script.raw:
            connection.send(200, script.content_type, script.raw.encode())
            self.call.complete = True
        elif script.whole or not self.call.body.get("stream"):
            connection.send(200, "application/json", frames.whole(script))
            self.call.complete = True
        else:
            await self._stream()

    def _refuse(self, status: int, name: str) -> None:
        kind, text = BODIES[name]
        extra = []
        if self.script.retry_after is not None:
            extra.append(f"retry-after: {self.script.retry_after}")
        if self.script.retry_after_ms is not None:
            extra.append(f"retry-after-ms: {self.script.retry_after_ms}")
        self.connection.send(status, kind, text.encode(), *extra)

    async def _stream(self) -> None:
        self._open()
        await asyncio.sleep(self.script.ttft_s)
        pace = Pace(self.script.rate)
        for kind, data in frames.plan(self.script, frames.first_word(self.script, self.call.body)):
            if kind == "text":
                if self.call.chunks == self.script.gate_at:
                    await self.connection.upstream.gates[self.script.gate].wait()
                await pace.next()
            if kind in {"text", "frame"}:
                await self._write(kind, data)
            else:
                return await self._break(kind)
        self.call.complete = all(
            getattr(self.script, name) is None for name in ("done_at", "error_at")
        )
        await asyncio.sleep(self.script.tail_s)
        return self._close()

    def _open(self) -> None:
        framing, headers = self.script.framing, ["cache-control: no-cache"]
        if framing == "chunked":
            headers.append("transfer-encoding: chunked")
        elif framing == "length":
            steps = frames.plan(self.script.healthy())
            headers.append(f"content-length: {sum(len(data) for _, data in steps)}")
        else:
            headers.append("connection: close")
        self.connection.send_head(200, self.script.content_type, *headers)

    async def _write(self, kind: str, frame: bytes) -> None:
        await self.connection.writable.wait()
        for piece in _cut(frame) if self.script.split_utf8 else [frame]:
            self._put(piece)
            if piece is not frame:
                await asyncio.sleep(0.001)
        if self.script.rate == 0:
            await asyncio.sleep(0)
        self.call.chunks += kind == "text"
        self.call.last_write_at = time.time()
        self.connection.upstream.changed()

    def _put(self, data: bytes) -> None:
        chunked = self.script.framing == "chunked"
        self.connection.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)

    async def _break(self, fault: str) -> None:
        if fault == "stall":
            await asyncio.Event().wait()
        elif fault == "drop":
            self.connection.reset()
        else:
            self._close()

    def _close(self) -> None:
        if self.script.framing == "chunked":
            self.connection.transport.write(b"0\r\n\r\n")
        elif self.script.framing == "close" or not self.call.complete:
            self.connection.lost("server")
            self.connection.transport.close()


class Pace:
    """Lets `rate` steps a second through, by the clock: lateness does not add up; 0 = all."""

    def __init__(self, rate: float) -> None:
        self._times = itertools.count(time.monotonic(), 1 / rate) if rate else None

    async def next(self) -> None:
        """Wait until the next step is due."""
        if self._times is not None:
            await asyncio.sleep(next(self._times) - time.monotonic())


def _cut(frame: bytes) -> list[bytes]:
    """Cut after the first byte of every multi-byte character, at most in five pieces."""
    cuts = [at + 1 for at, byte in enumerate(frame) if byte >= 0xC0][:4]
    return [frame[a:b] for a, b in itertools.pairwise([0, *cuts, len(frame)])]
