"""The server: tokens that end, endpoints that tell their task, invocations as a script says."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
from aiohttp import web

JSON = dict[str, Any]
CLIENT = ("client-1", "secret-of-the-client")
PAT = "dapi0123456789abcdef0123456789abcdef"
MISSING_MESSAGES = {
    "error_code": "BAD_REQUEST",
    "message": "Missing required Chat parameter: 'messages'",
}


class Answer(msgspec.Struct, kw_only=True):
    """What an invocation is answered with.

    `frames`: JSON values, or strings as they are; each a `data:` line; bytes are sent as they are,
    `size` at a time. `done`: `[DONE]` follows.
    `hold`: nothing more is said and the connection stays; `reset`: it breaks.
    """

    frames: Sequence[Any] = ()
    done: bool = True
    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = {}
    silence_s: float = 0
    pause_s: float = 0
    hold: bool = False
    reset: bool = False
    content_type: str = "text/event-stream"
    size: int = 3


class Asked(msgspec.Struct, kw_only=True):
    """A call, as the server saw it; `closed`: the caller left before the end."""

    path: str
    headers: Mapping[str, str]
    body: Any
    closed: bool = False
    complete: bool = False

    @property
    def token(self) -> str:
        """The Bearer it came with."""
        return self.headers.get("Authorization", "").removeprefix("Bearer ")


class Workspace:
    """What the tests set, and what they may look at.

    `endpoints`: descriptions by name, absent = 404. `forbidden`: nobody may read them. `answers`:
    one for each invocation, the last one stays; or a function of the body. `user_tokens`: those of
    people. `taken`: tokens that do not count any more. `expires_in`: of new tokens. `responses`:
    how the Supervisor API's answer stands at each look, the last one stays. `stopped`: what was
    ended.
    """

    def __init__(self) -> None:
        self.url = ""
        self.endpoints: dict[str, JSON] = {}
        self.forbidden = False
        self.answers: list[Answer] | Callable[[JSON], Answer] = [Answer()]
        self.asked: list[Asked] = []
        self.described = 0
        self.tokens = 0
        self.expires_in = 3600
        self.user_tokens: set[str] = set()
        self.taken: set[str] = set()
        self.messages: list[JSON] = []
        self.responses: list[JSON] = []
        self.stopped: list[str] = []
        self.rows: JSON = {}
        self.looks = 0
        self.changed = asyncio.Condition()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=32 * 1024 * 1024)
        app.add_routes(
            [
                web.get("/.well-known/databricks-config", self._config),
                web.get("/oidc/.well-known/oauth-authorization-server", self._oidc),
                web.post("/oidc/v1/token", self._token),
                web.get("/api/2.0/serving-endpoints/{name}", self._describe),
                web.post("/serving-endpoints/{name}/invocations", self._invoke),
                web.post("/api/2.0/genie/spaces/{space}/start-conversation", self._ask_genie),
                web.post("/ai-gateway/mlflow/v1/responses", self._ask_supervisor),
                web.get("/ai-gateway/mlflow/v1/responses/{id}", self._look_at_supervisor),
                web.post("/ai-gateway/mlflow/v1/responses/{id}/cancel", self._stop_supervisor),
                web.get("/api/2.0/genie/spaces/{space}/conversations/{c}/messages/{m}", self._look),
                web.get(
                    "/api/2.0/genie/spaces/{space}/conversations/{c}/messages/{m}"
                    "/attachments/{a}/query-result",
                    self._rows,
                ),
            ]
        )
        return app

    async def until(self, holds: Callable[[], Any]) -> None:
        """Wait until something is so."""
        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(holds), 20)

    async def _told(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def _config(self, _: web.Request) -> web.Response:
        return web.json_response({"oidc_endpoint": f"{self.url}/oidc", "workspace_id": "1"})

    async def _oidc(self, _: web.Request) -> web.Response:
        oidc = f"{self.url}/oidc"
        endpoints = {"authorization_endpoint": f"{oidc}/v1/authorize"}
        return web.json_response(endpoints | {"token_endpoint": f"{oidc}/v1/token"})

    async def _token(self, call: web.Request) -> web.Response:
        form = dict(await call.post())
        basic = base64.b64encode(":".join(CLIENT).encode()).decode()
        if call.headers.get("Authorization") != f"Basic {basic}":
            return web.json_response({"error": "invalid_client"}, status=401)
        assert form == {"grant_type": "client_credentials", "scope": "all-apis"}
        self.tokens += 1
        await asyncio.sleep(0.05)  # long enough for another one to ask meanwhile
        token = {"access_token": f"oauth-{self.tokens}", "token_type": "Bearer"}
        return web.json_response(token | {"expires_in": self.expires_in})

    def _refused(self, call: web.Request) -> web.Response | None:
        token = call.headers.get("Authorization", "").removeprefix("Bearer ")
        ours = {PAT, *(f"oauth-{number}" for number in range(1, self.tokens + 1))}
        if token in (ours | self.user_tokens) - self.taken:
            return None
        said = {"error_code": "401", "message": "Credential was not sent or was invalid."}
        return web.json_response(said, status=401)

    async def _describe(self, call: web.Request) -> web.Response:
        self.described += 1
        if refused := self._refused(call):
            return refused
        name = call.match_info["name"]
        if self.forbidden or name not in self.endpoints:
            code = "PERMISSION_DENIED" if self.forbidden else "RESOURCE_DOES_NOT_EXIST"
            said = {"error_code": code, "message": f"Endpoint {name}: {code}"}
            return web.json_response(said, status=403 if self.forbidden else 404)
        return web.json_response({"name": name, "state": {"ready": "READY"}} | self.endpoints[name])

    async def _invoke(self, call: web.Request) -> web.StreamResponse:
        asked = Asked(path=call.path, headers=call.headers, body=await call.json())
        self.asked.append(asked)
        await self._told()
        if refused := self._refused(call):
            return refused
        if callable(self.answers):
            answer = self.answers(asked.body)
        else:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer.status != 200 or answer.body is not None:
            return _whole(answer)
        try:
            return await self._stream(call, asked, answer)
        except (asyncio.CancelledError, ConnectionError):
            asked.closed = True
            await asyncio.shield(self._told())
            raise

    async def _stream(self, call: web.Request, asked: Asked, answer: Answer) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": answer.content_type})
        await asyncio.sleep(answer.silence_s)
        await response.prepare(call)
        for frame in answer.frames:
            if isinstance(frame, bytes):
                for at in range(0, len(frame), answer.size):
                    await response.write(frame[at : at + answer.size])
                continue
            data = frame if isinstance(frame, str) else json.dumps(frame, ensure_ascii=False)
            await response.write(f"data: {data}\n\n".encode())
            await asyncio.sleep(answer.pause_s)
        if answer.reset:
            cast("asyncio.Transport", call.transport).abort()
            return response
        if answer.hold:
            await asyncio.Event().wait()
        if answer.done:
            await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        asked.complete = True
        return response

    async def _ask_genie(self, call: web.Request) -> web.Response:
        if refused := self._refused(call):
            return refused
        self.asked.append(Asked(path=call.path, headers=call.headers, body=await call.json()))
        ids = {"conversation_id": "c-1", "message_id": "m-1"}
        return web.json_response(ids | {"message": ids | {"status": "SUBMITTED"}})

    async def _look(self, call: web.Request) -> web.Response:
        if refused := self._refused(call):
            return refused
        message = self.messages[min(self.looks, len(self.messages) - 1)]
        self.looks += 1
        await self._told()
        if "http" in message:
            return web.json_response({"message": "later"}, status=message["http"])
        return web.json_response({"conversation_id": "c-1", "message_id": "m-1"} | message)

    async def _ask_supervisor(self, call: web.Request) -> web.Response:
        if refused := self._refused(call):
            return refused
        body = await call.json()
        self.asked.append(Asked(path=call.path, headers=call.headers, body=body))
        if body.get("stream"):
            said = {"error_code": "BAD_REQUEST", "message": "stream and background exclude it."}
            return web.json_response(said, status=400)
        return web.json_response({"id": "resp_s", "status": "queued", "output": []})

    async def _look_at_supervisor(self, call: web.Request) -> web.Response:
        if refused := self._refused(call):
            return refused
        if call.match_info["id"] != "resp_s":
            return web.json_response({"error_code": "NOT_FOUND", "message": "none"}, status=404)
        response = self.responses[min(self.looks, len(self.responses) - 1)]
        self.looks += 1
        await self._told()
        if "http" in response:
            return web.json_response({"message": "later"}, status=response["http"])
        return web.json_response({"id": "resp_s"} | response)

    async def _stop_supervisor(self, call: web.Request) -> web.Response:
        self.stopped.append(call.match_info["id"])
        return self._refused(call) or web.json_response({"id": "resp_s", "status": "cancelled"})

    async def _rows(self, call: web.Request) -> web.Response:
        return self._refused(call) or web.json_response({"statement_response": self.rows})


def _whole(answer: Answer) -> web.Response:
    headers = dict(answer.headers)
    if isinstance(answer.body, str):
        kind = "text/html" if answer.body.startswith("<") else "text/plain"
        return web.Response(
            text=answer.body, status=answer.status, headers=headers, content_type=kind
        )
    return web.json_response(answer.body, status=answer.status, headers=headers)


@asynccontextmanager
async def working() -> AsyncIterator[Workspace]:
    """Serve a workspace until the block ends."""
    workspace = Workspace()
    runner = web.AppRunner(
        workspace.app(), handler_cancellation=True, shutdown_timeout=0.1, access_log=None
    )
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    workspace.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield workspace
    finally:
        await runner.cleanup()
        await asyncio.sleep(0.01)  # sockets close in the loop's next turns
