"""The application's API as a person's client uses it: one person, one connection pool."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.world.checker import Log
from tests.world.readers import SseReader
from tests.world.records import TERMINAL_STATUSES, Record
from tests.world.waiting import eventually

JSON = dict[str, Any]


class Api:
    """Calls with short names; each returns the decoded body and fails on an unexpected status."""

    def __init__(self, url: str, *, user: str = "") -> None:
        self.url = url
        self.headers = {"X-Forwarded-User": user} if user else {}
        # Shorter than the server's patience: a call on a line that is just being closed would fail.
        idle = httpx.Limits(keepalive_expiry=2)
        self.http = httpx.AsyncClient(
            base_url=url, headers=self.headers, timeout=30, trust_env=False, limits=idle
        )

    async def post_question(self, body: JSON, *, key: str = "") -> httpx.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return await self.http.post("/api/invoke_endpoint", json=body, headers=headers)

    async def ask(self, script: JSON, *, key: str = "", **more: Any) -> JSON:
        """Ask for a scripted answer; return what 202 says."""
        response = await self.post_question(question(script, **more), key=key)
        return expect(202, response)

    async def get(self, path: str, **query: Any) -> JSON:
        return expect(200, await self.http.get(path, params=query))

    async def request(self, request_id: str) -> JSON:
        return await self.get(f"/api/requests/{request_id}")

    async def status(self, request_id: str, **query: Any) -> JSON:
        return await self.get(f"/api/requests/{request_id}/status", **query)

    async def cancel(self, request_id: str) -> JSON:
        return expect(200, await self.http.post(f"/api/requests/{request_id}/cancel"))

    async def retry(self, request_id: str) -> JSON:
        return expect(202, await self.http.post(f"/api/requests/{request_id}/retry"))

    async def chat(self, chat_id: str) -> JSON:
        return await self.get(f"/api/chats/{chat_id}")

    async def messages(self, chat_id: str) -> list[JSON]:
        """Return the messages of a chat's tree, parents before children."""
        body: Any = await self.get(f"/api/chats/{chat_id}/messages")
        return list(body["messages"])

    async def until(self, request_id: str, *states: str, within_s: float = 30) -> JSON:
        """Return the request once it is in one of `states`."""

        async def reached() -> JSON | None:
            request = await self.request(request_id)
            return request if request["status"] in states else None

        what = f"{request_id} is {' or '.join(states)}"
        return await eventually(reached, within_s=within_s, what=what)

    async def ended(self, request_id: str, *, within_s: float = 30) -> JSON:
        return await self.until(request_id, *TERMINAL_STATUSES, within_s=within_s)

    async def shown(self, request_id: str, characters: int, *, within_s: float = 15) -> JSON:
        """Return the status once the partial text has at least so many characters."""

        async def enough() -> JSON | None:
            status = await self.status(request_id)
            return status if len(status["partial_content"] or "") >= characters else None

        what = f"{request_id} shows {characters} characters"
        return await eventually(enough, within_s=within_s, what=what)

    async def log(self, request_id: str) -> Log:
        """Return the whole log of a finished request, replayed from the start."""
        record = Record(request_id, "replay")
        await SseReader(self.url, record, headers=self.headers).follow(within_s=30)
        numbers = [shown.number for shown in record.shown]
        assert numbers == list(range(len(numbers))), f"a replay came as {numbers[:5]}…"
        return Log(request_id, tuple(shown.data for shown in record.shown))


def question(script: JSON, **more: Any) -> JSON:
    """Return the body of a question whose answer is scripted."""
    return {"message": f"{json.dumps(script)} please", **more}


def expect(status: int, response: httpx.Response) -> JSON:
    """Return the body of a response that has the expected status."""
    asked = f"{response.request.method} {response.request.url}"
    assert response.status_code == status, f"{asked}: {response.status_code} {response.text[:500]}"
    return dict(response.json())
