"""Webhooks from the outbox to a real receiver that checks them with the official client."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import openai
import pytest
from aiohttp import web

from perdure.deltas import Delta, Finish, Text
from perdure.http import ConnectFailed
from perdure.model import Webhook
from perdure.settings import Webhooks, load
from perdure.webhooks import is_public, public_addresses, retry_after, signed_headers
from tests.flow.clients import NODE, OLD_PYTHON, run
from tests.flow.serving import serving
from tests.world.waiting import eventually

OLD, NEW = "whsec_b2xkIHNlY3JldCBvZiAzMiBieXRlcyBhdCBsZWFzdA==", "whsec_bmV3IHNlY3JldA=="
HOUR_S = 3600
HANGS = 0


async def short(messages: list[Any], context: object) -> AsyncIterator[Delta]:
    """An agent that is cut at its length."""
    yield Text("half")
    yield Finish("length")


class Receiver:
    """Somebody's server; `answers` are the statuses of the first calls, then 200."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append((headers, await request.read()))
        status = self.answers.pop(0) if self.answers else 200
        if status == HANGS:
            await asyncio.Event().wait()
        return web.Response(status=status, headers={"location": "/elsewhere"})

    async def until(self, count: int) -> None:
        async def enough() -> bool:
            return len(self.got) >= count

        await eventually(enough, within_s=20, what=f"{count} webhooks came")


@asynccontextmanager
async def receiving(*answers: int) -> AsyncIterator[Receiver]:
    receiver = Receiver(*answers)
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


def telling(receiver: Receiver, **more: Any) -> Webhooks:
    return Webhooks(url=receiver.url, secret=f"{NEW} {OLD}", allow_private=True, **more)


def often(app: Any) -> None:
    """Look for due webhooks all the time."""
    app.state.core.webhooks.look_s = 0.02


async def test_the_end_of_an_answer_is_told_and_all_official_clients_accept_it(tmp_path):
    """Guards: signature over id, time and body; all secrets sign while they are rotated."""
    async with (
        receiving() as receiver,
        serving(
            tmp_path, prepare=often, webhooks=telling(receiver), agents={"short": short}
        ) as served,
    ):
        asked = await served.asked_and_ended()
        await served.asked_and_ended(agent_id="broken")
        await receiver.until(2)
        stopped = await served.ask("hi", "steered")
        await served.http.post(f"/api/requests/{stopped['request_id']}/cancel")
        await served.asked_and_ended(agent_id="short")
        await receiver.until(4)
    (headers, body), (_, failed), *ends = receiver.got
    types = {json.loads(end)["type"] for _, end in ends}
    assert types == {"response.cancelled", "response.incomplete"}
    for secret in (OLD, NEW):
        client = openai.OpenAI(api_key="x", webhook_secret=secret)
        event = client.webhooks.unwrap(body.decode(), headers)
        assert event.type == "response.completed"
        assert event.data.id == asked["request_id"]
        with pytest.raises(openai.InvalidWebhookSignatureError):
            client.webhooks.unwrap(body.decode() + " ", headers)
    assert json.loads(body).keys() == {"id", "object", "created_at", "type", "data"}
    assert json.loads(failed)["type"] == "response.failed"
    told = await asyncio.gather(*(unwrapped(one, body, headers) for one in UNWRAPPING))
    assert told == [["response.completed", asked["request_id"], "refused"]] * len(UNWRAPPING)


UNWRAPPING = (
    (OLD_PYTHON, "unwrap.py"),
    (NODE, "unwrap.mjs", "openai6"),
    (NODE, "unwrap.mjs", "openai7"),
)


async def unwrapped(command: tuple[str, ...], body: bytes, headers: dict[str, str]) -> list[str]:
    """Let another version's client look at a webhook: its type and id, and one with a change."""
    program = await run(*command)
    try:
        given = {"body": body.decode(), "headers": headers, "secret": OLD}
        program.say(json.dumps(given))
        return list((await program.until("unwrapped"))["unwrapped"])
    finally:
        await program.end()


async def test_what_was_not_taken_is_tried_again_with_the_same_id_and_body(tmp_path):
    """Redirects are refusals too, and nobody waits for long; time and signature are new."""
    async with (
        receiving(500, 302, HANGS) as receiver,
        serving(tmp_path, prepare=often, webhooks=telling(receiver, timeout_s=0.5)) as served,
    ):
        served.core.webhooks.first_s = 0.01
        await served.asked_and_ended()
        await receiver.until(4)

        async def delivered() -> Any:
            (webhook,) = (await served.get("/api/webhooks"))["webhooks"]
            return webhook["state"] == "delivered" and webhook

        webhook = await eventually(delivered, within_s=5, what="it is settled")
    assert (webhook["attempts"], webhook["error"]) == (4, None)
    assert len({(headers["webhook-id"], body) for headers, body in receiver.got}) == 1


async def test_a_dead_letter_is_listed_and_delivered_again_by_the_command_line(tmp_path):
    async with (
        receiving(500) as receiver,
        serving(tmp_path, prepare=often, webhooks=telling(receiver, give_up_hours=1e-9)) as served,
    ):
        await served.asked_and_ended()

        async def dead() -> Any:
            return (await served.get("/api/webhooks", dead="true"))["webhooks"]

        (webhook,) = await eventually(dead, within_s=10, what="it is given up")
        assert (webhook["state"], webhook["error"]) == ("dead", "status 500")
        listed = await command("webhooks", "list", "--dead", "--json", "--url", served.url)
        assert json.loads(listed)["webhooks"][0]["id"] == webhook["id"]
        await command("webhooks", "redeliver", webhook["id"], "--url", served.url)
        await receiver.until(2)
        refused = await served.http.post("/api/webhooks/evt_none/redeliver")
        assert refused.status_code == 404


async def command(*words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "perdure", *words, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def test_what_waits_is_delivered_after_a_restart(tmp_path):
    """At least once: the notice is in the transaction of the end, not in this process."""
    async with receiving() as receiver:
        nowhere = Webhooks(url="http://127.0.0.1:9/hook", secret=OLD, allow_private=True)
        async with serving(tmp_path, prepare=often, webhooks=nowhere) as served:
            asked = await served.asked_and_ended()

            async def tried() -> Any:
                (webhook,) = (await served.get("/api/webhooks"))["webhooks"]
                return webhook["error"] and webhook

            webhook = await eventually(tried, within_s=10, what="it was tried")
            await served.core.store.redeliver_webhook(webhook["id"], "local")
        async with serving(tmp_path, prepare=often, webhooks=telling(receiver)):
            await receiver.until(1)
    assert json.loads(receiver.got[0][1])["data"]["id"] == asked["request_id"]


@pytest.mark.parametrize(
    "host",
    [
        *["127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "100.64.0.1"],
        *["::1", "::", "fe80::1%1", "fd00::1", "fec0::1", "ff02::1"],
        *["::ffff:10.0.0.1", "::10.0.0.1", "::ffff:0:10.0.0.1", "2002:a00:1::"],
        *["64:ff9b::10.0.0.1", "64:ff9b:1::10.0.0.1", "2001:0:a00:1::"],
    ],
)
async def test_private_addresses_are_refused(host):
    """Guard: `is_public`, also of an IPv4 address in one of IPv6; off only with `allow_private`."""
    with pytest.raises(ConnectFailed, match="private address"):
        await public_addresses(host, 80)


@pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700::1", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8"])
async def test_public_addresses_are_not(host):
    assert is_public(host)


@pytest.mark.parametrize("second", ["8.8.4.4", "127.0.0.1"])
async def test_one_look_at_the_name_decides_and_one_private_address_is_enough(monkeypatch, second):
    """Guard against DNS rebinding: what was checked is what is connected to (`test_http.py`)."""
    looks = []

    async def look(host, port, **_):
        looks.append(host)
        return [(0, 0, 0, "", (address, port)) for address in ("8.8.8.8", second)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look)
    if second == "127.0.0.1":
        with pytest.raises(ConnectFailed, match=r"hooks\.example is the private"):
            await public_addresses("hooks.example", 443)
    else:
        assert await public_addresses("hooks.example", 443) == ["8.8.8.8", second]
    assert looks == ["hooks.example"]


async def test_a_private_receiver_gets_nothing_unless_allowed(tmp_path):
    async with receiving() as receiver:
        settings = Webhooks(url=receiver.url, secret=OLD)
        async with serving(tmp_path, prepare=often, webhooks=settings) as served:
            await served.asked_and_ended()

            async def refused() -> Any:
                (webhook,) = (await served.get("/api/webhooks"))["webhooks"]
                return webhook["error"]

            error = await eventually(refused, within_s=10, what="it was refused")
    assert "private address" in error
    assert receiver.got == []


def test_tries_grow_apart_and_end_after_three_days():
    made, tries, now = Webhook(id="e", request_id="r", user_id="u", type="t", created_at=0), 0, 0.0
    while True:
        tries += 1
        made = msgspec.structs.replace(made, attempts=tries)
        delay = retry_after(made, now, 72 * HOUR_S)
        if delay is None:
            break
        now += delay
    assert 12 <= tries <= 40
    assert 60 * HOUR_S < now <= 72 * HOUR_S


def test_a_plain_secret_signs_as_well():
    headers = signed_headers(["plain"], "evt_1", int(time.time()), b"{}")
    client = openai.OpenAI(api_key="x", webhook_secret="plain")
    client.webhooks.verify_signature("{}", headers)


@pytest.mark.parametrize(
    "webhooks",
    [{"url": "ftp://x"}, {"url": "https://x"}, {"url": "https://x", "secret": "whsec_%%%"}],
)
def test_settings_that_could_not_work_stop_the_start(webhooks):
    with pytest.raises(Exception, match="webhooks"):
        load(None, {"webhooks": webhooks})
