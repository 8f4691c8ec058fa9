"""One server, one scripted upstream, their clients, and the judgement at the end."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path
from typing import Any, Self

import httpx

from tests.upstream import Call, Script, Upstream, text_of
from tests.world.api import JSON, Api, question
from tests.world.checker import Log, check
from tests.world.readers import Poller, Reader, SseReader, WsReader
from tests.world.records import Record
from tests.world.server import Server
from tests.world.waiting import eventually

AGENT = {"handler": "openai", "model": "demo", "attempts_max": 1000, "idle_timeout_s": 20}
TOP = {"lease_s": 30, "reap_s": 1, "drain_grace_s": 1}


def toml(value: object) -> str:
    """Return one TOML value; strings, numbers, booleans and lists of them look as in Python."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def table(name: str, values: dict[str, Any]) -> str:
    lines = [f"[{name}]"] if name else []
    return "\n".join([*lines, *(f"{key} = {toml(value)}" for key, value in values.items()), ""])


class World:
    """A context manager around everything a test needs; prints the server's words on a failure.

    Args:
        folder: for data, configuration and logs.
        rng: the test's seeded randomness.
        agent: settings of the agent `scripted`, over patient defaults.
        agents: further agents by id, each as settings over the same defaults.
        top, limits: further settings.
        users: ask under names (`api_of`), through the headers of a trusted proxy.
        sabotage: the guard to switch off in the server, see `sabotage.GUARDS`.

    """

    def __init__(
        self,
        folder: Path,
        rng: random.Random,
        *,
        agent: JSON | None = None,
        agents: dict[str, JSON] | None = None,
        top: JSON | None = None,
        limits: JSON | None = None,
        users: bool = False,
        sabotage: str = "",
    ) -> None:
        self.rng = rng
        self.upstream = Upstream()
        self.users = users
        config = table("", {**TOP, **(top or {})}) + table("limits", limits or {})
        config += table("auth", {"mode": "proxy"} if users else {})
        base = {**AGENT, "base_url": self.upstream.url}
        for agent_id, settings in {"scripted": agent or {}, **(agents or {})}.items():
            config += table(f"agents.{agent_id}", {**base, **settings})
        self.server = Server(folder, config, sabotage=sabotage)
        self.records: list[Record] = []
        self.accepted: dict[str, JSON] = {}
        self.followers: list[asyncio.Task[Record]] = []
        self.apis: dict[str, Api] = {}

    async def __aenter__(self) -> Self:
        self.upstream.__enter__()
        try:
            await self.server.start()
        except BaseException as error:
            await self.__aexit__(type(error))
            raise
        return self

    async def begin(self, rng: random.Random) -> None:
        """Forget what earlier tests did; start the server again if one of them lost it."""
        self.rng = rng
        self.records, self.accepted, self.followers = [], {}, []
        self.upstream.forget()
        if not self.server.running:
            await self.server.start()

    async def rest(self) -> None:
        """Stop the readers, and whatever a failed test left running."""
        for follower in self.followers:
            follower.cancel()
        await asyncio.gather(*self.followers, return_exceptions=True)
        with contextlib.suppress(httpx.HTTPError):
            for request_id in self.accepted:
                await self.api.http.post(f"/api/requests/{request_id}/cancel")

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for follower in self.followers:
            follower.cancel()
        await asyncio.gather(*self.followers, return_exceptions=True)
        for api in self.apis.values():
            await api.http.aclose()
        await asyncio.to_thread(self.server.end)
        await asyncio.to_thread(self.upstream.__exit__)
        if kind is not None:
            print(self.server.story())  # noqa: T201 pytest shows it beside the failure

    @property
    def api(self) -> Api:
        return self.api_of("alice" if self.users else "")

    @property
    def address(self) -> str:
        """Where people go."""
        return self.server.url

    def api_of(self, user: str) -> Api:
        if user not in self.apis:
            self.apis[user] = Api(self.address, user=user)
        return self.apis[user]

    def fresh_api(self) -> Api:
        """Return the same person on a device that remembers nothing."""
        self.apis[f"device {len(self.apis)}"] = api = Api(self.address)
        return api

    async def ask(self, script: JSON, *, api: Api | None = None, **more: Any) -> str:
        """Ask, remember that it was accepted, and return the request's id."""
        accepted = await (api or self.api).ask(script, **more)
        return self.remember(accepted, script)

    def remember(self, accepted: JSON, script: JSON) -> str:
        request_id = str(accepted["request_id"])
        self.accepted.setdefault(request_id, {**accepted, "script": script})
        return request_id

    async def ask_surely(self, script: JSON, key: str, *, within_s: float = 30, **more: Any) -> str:
        """Repeat the POST with one key until it is answered, as a good client does."""

        async def answered() -> JSON | None:
            try:
                response = await self.api.post_question(question(script, **more), key=key)
            except httpx.HTTPError:
                return None
            return dict(response.json()) if response.status_code == 202 else None

        what = f"the question {key} is accepted"
        return self.remember(
            await eventually(answered, within_s=within_s, what=what, every_s=0.05), script
        )

    def reader(self, kind: str, request_id: str, *, fickle: bool = False, **more: Any) -> Reader:
        """Return a new reader whose record will be judged; `kind` is a key of `makers`."""
        makers: dict[str, tuple[type[Reader], JSON]] = {
            "sse": (SseReader, {}),
            "ws": (WsReader, {"snapshot": True}),
            "ws log": (WsReader, {"snapshot": False}),
            "poll": (Poller, {}),
            "long poll": (Poller, {"wait_s": 5}),
        }
        maker, options = makers[kind]
        record = Record(request_id, f"{kind} {len(self.records)}")
        self.records.append(record)
        dice = random.Random(self.rng.random())
        options = {"headers": self.api.headers, **options, **more}
        return maker(self.address, record, dice=dice, fickle=fickle, **options)

    def follow(self, kind: str, request_id: str, *, within_s: float = 60, **more: Any) -> Reader:
        """Start a reader beside the test; `judge` waits for it."""
        reader = self.reader(kind, request_id, **more)
        self.followers.append(asyncio.create_task(reader.follow(within_s=within_s)))
        return reader

    def calls(self, name: str) -> list[Call]:
        """Return the upstream calls of the scripts with this name, oldest first."""
        mark = f'"name": "{name}"'
        return [call for call in list(self.upstream.calls) if mark in call.script]

    async def called(self, name: str, *, count: int = 1, within_s: float = 10) -> Call:
        """Return the `count`-th upstream call of a script once it has begun."""

        async def begun() -> list[Call]:
            calls = self.calls(name)
            return calls if len(calls) >= count else []

        what = f"the upstream sees call {count} of {name}"
        return (await eventually(begun, within_s=within_s, what=what))[count - 1]

    async def closed(self, call: Call, *, within_s: float = 10) -> Call:
        """Return the call once it has ended, by whomever."""

        async def ended() -> bool:
            return bool(call.closed_by)

        await eventually(ended, within_s=within_s, what=f"the upstream call {call.number} ends")
        return call

    async def judge(self, *, within_s: float = 60) -> dict[str, Log]:
        """Wait for every end, then hold all records against the final logs; return the logs."""
        await asyncio.gather(*self.followers)
        logs: dict[str, Log] = {}
        for request_id in self.accepted:
            ended = await self.api.ended(request_id, within_s=within_s)
            log = logs[request_id] = await self.api.log(request_id)
            agree(ended, log)
        check(self.records, logs.values())
        return logs

    async def judge_complete(self, *, within_s: float = 60) -> dict[str, Log]:
        """Judge, and ask that every answer is the whole one."""
        logs = await self.judge(within_s=within_s)
        for request_id, log in logs.items():
            script = self.accepted[request_id]["script"]
            assert log.end["type"] == "response.completed", (request_id, log.end)
            assert log.text == whole(script), request_id
            assert (await self.api.request(request_id))["final_response"] == whole(script)
        return logs


def whole(script: JSON, chunks: int | None = None) -> str:
    """Return the whole text of a script's answer, or that of its first chunks."""
    return text_of(Script(**script), chunks)


def agree(request: JSON, log: Log) -> None:
    """The request's row and the last event of its log must tell the same end."""
    status = log.end["response"]["status"]
    told = "completed" if status == "incomplete" else status
    assert request["status"] == told, f"{request['id']}: row {request['status']}, log {status}"
    assert request["sequence_number"] == len(log.events) - 1, request["id"]
    text = request["final_response"] or request["partial_response"] or ""
    assert text == log.text, f"{request['id']}: the row's text is not the log's"
