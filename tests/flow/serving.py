"""The real app on a loopback port, in the test's own event loop, with agents that tests steer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn
from websockets.asyncio.client import connect

from perdure.app import create_app
from perdure.core import Core
from perdure.settings import Auth, Settings
from tests.world import wire

JSON = dict[str, Any]


class Steered:
    """An agent that says what the test tells it to, when it is told."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()

    def say(self, *pieces: str) -> None:
        for piece in pieces:
            self._pieces.put_nowait(piece)

    def end(self) -> None:
        self._pieces.put_nowait(None)

    def forget(self) -> None:
        """Let go of what nobody asked for."""
        while not self._pieces.empty():
            self._pieces.get_nowait()

    async def answer(self, messages: list[JSON], context: object) -> AsyncIterator[str]:
        while (piece := await self._pieces.get()) is not None:
            yield piece


async def echo(messages: list[JSON], context: object) -> AsyncIterator[str]:
    """Answer with the question."""
    yield str(messages[-1]["content"])


async def broken(messages: list[JSON], context: object) -> AsyncIterator[str]:
    """Say a little, then fail."""
    yield "half"
    detail = "no more"
    raise RuntimeError(detail)


class Served:
    """A running server and one person's client of it."""

    app: Any
    """The application that serves."""

    def __init__(self, url: str, core: Core, steered: Steered, user: str) -> None:
        self.url = url
        self.core = core
        self.steered = steered
        self.headers = {"X-Forwarded-User": user} if user else {}
        self.http = httpx.AsyncClient(
            base_url=url, headers=self.headers, timeout=20, trust_env=False
        )

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def other(self, user: str) -> Served:
        """Return another person's client of the same server; close its `http`."""
        return Served(self.url, self.core, self.steered, user)

    async def ask(self, message: str = "hello", agent_id: str = "echo", **more: Any) -> JSON:
        body = {"message": message, "agent_id": agent_id, **more}
        response = await self.http.post("/api/invoke_endpoint", json=body)
        assert response.status_code == 202, response.text
        return dict(response.json())

    async def get(self, path: str, **query: Any) -> JSON:
        response = await self.http.get(path, params=query)
        assert response.status_code == 200, f"{path}: {response.status_code} {response.text}"
        return dict(response.json())

    async def status(self, request_id: str, **query: Any) -> JSON:
        return await self.get(f"/api/requests/{request_id}/status", **query)

    async def ended(self, request_id: str) -> JSON:
        """Long-poll a request to its end."""
        status = await self.status(request_id)
        while status["status"] in ("queued", "streaming"):
            after = status["sequence_number"]
            status = await self.status(request_id, wait_s=5, after=after)
        return status

    async def shown(self, request_id: str, text: str) -> JSON:
        """Long-poll until the partial text is `text`; return that status."""
        status = await self.status(request_id)
        while status["partial_content"] != text:
            assert status["status"] in ("queued", "streaming"), status
            after = status["sequence_number"]
            status = await self.status(request_id, wait_s=5, after=after)
        return status

    async def shown_some(self, request_id: str) -> None:
        """Long-poll until anything of the text is there."""
        status = await self.status(request_id)
        while not status["partial_content"]:
            assert status["status"] in ("queued", "streaming"), status
            status = await self.status(request_id, wait_s=5, after=status["sequence_number"])

    async def asked_and_ended(self, message: str = "hello", agent_id: str = "echo") -> JSON:
        accepted = await self.ask(message, agent_id)
        await self.ended(accepted["request_id"])
        return accepted

    async def stream(self, path: str, **headers: str) -> wire.Response:
        """Open an event stream on a bare socket, which knows whether the body was cut."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await wire.request("GET", self.url + path, {**self.headers, **named})

    def socket(self, path: str, **options: Any) -> connect:
        """Open a WebSocket."""
        url = self.url.replace("http", "ws", 1) + path
        headers = {**self.headers, **options.pop("headers", {})}
        return connect(url, additional_headers=headers, proxy=None, **options)


def events_of(body: bytes) -> list[JSON]:
    """Return the events of an SSE body, each checked against its frame's id and type."""
    found = []
    for frame in body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in frame.split("\n") if ": " in line)
        if "data" in fields:
            event = json.loads(fields["data"])
            assert (fields["id"], fields["event"]) == (
                str(event["sequence_number"]),
                event["type"],
            )
            found.append(event)
    return found


@asynccontextmanager
async def serving(
    folder: Any,
    *,
    user: str = "",
    prepare: Callable[[Any], None] | None = None,
    agents: Mapping[str, Any] = {},
    http: Any = "auto",
    **settings: Any,
) -> AsyncIterator[Served]:
    """Serve until the block ends; with `user`, people are told apart by the proxy's header.

    `agents`: beside the usual ones. `http`: the protocol's class, for that of `perdure serve`.
    """
    if user:
        settings["auth"] = Auth(mode="proxy")
    given = {"data_dir": folder, "keepalive_s": 5, "drain_grace_s": 0, **settings}
    steered = Steered()
    known = {"echo": echo, "steered": steered.answer, "broken": broken, **agents}
    app = create_app(known, Settings(**given))
    if prepare is not None:
        prepare(app)
    config = uvicorn.Config(
        app,
        port=0,
        log_config=None,
        ws="websockets-sansio",
        http=http,
        timeout_graceful_shutdown=1,
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        assert not running.done(), running.exception()
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    served = Served(f"http://127.0.0.1:{port}", app.state.core, steered, user)
    served.app = app
    try:
        yield served
    finally:
        await served.http.aclose()
        served.core.tails.drain()
        server.should_exit = True
        await running
