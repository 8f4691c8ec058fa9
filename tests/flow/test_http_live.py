"""One line per tab: any number of requests and every change of a chat, over WebSocket and SSE."""

import asyncio
import json

import pytest
from websockets.exceptions import ConnectionClosed

from perdure.routers.doorbells import Doorbells
from perdure.routers.live_sse import FramedLine
from perdure.tail import Batch
from tests.flow.serving import serving
from tests.world.waiting import eventually


@pytest.fixture
async def server(tmp_path):
    async with serving(tmp_path) as served:
        yield served


class Tab:
    """A client of the live socket that keeps all it was told."""

    def __init__(self, socket):
        self.socket = socket
        self.told = []

    async def send(self, **message):
        await self.socket.send(json.dumps(message))

    async def until(self, wanted):
        """Read until a message is as wanted; return it."""
        async with asyncio.timeout(10):
            while True:
                message = json.loads(await self.socket.recv())
                self.told.append(message)
                if wanted(message):
                    return message

    def events(self, request_id):
        return [
            one["event"]
            for one in self.told
            if one.get("request_id") == request_id and "event" in one
        ]


def ending(accepted):
    return lambda one: (
        one.get("request_id") == accepted["request_id"]
        and one.get("event", {}).get("type") == "response.completed"
    )


def chat_where(**fields):
    return lambda one: "chat" in one and all(one["chat"][key] == fields[key] for key in fields)


async def test_one_socket_follows_several_requests_without_mixing_them(server):
    async with server.socket("/api/live") as socket:
        tab = Tab(socket)
        assert (await tab.until(lambda one: True)) == {"op": "hello", "revision": 0}
        both = [await server.ask(text) for text in ("one", "two")]
        for accepted in both:
            await tab.send(op="attach", request_id=accepted["request_id"], after=-1)
            await tab.until(ending(accepted))
    for accepted, text in zip(both, ("one", "two"), strict=True):
        events = tab.events(accepted["request_id"])
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert events[-1]["response"]["output"][0]["content"][0]["text"] == text


async def test_attaching_takes_a_cursor_and_detaching_ends_it(server):
    accepted = await server.ask("hi", "steered")
    server.steered.say("a")
    at = (await server.shown(accepted["request_id"], "a"))["sequence_number"]
    async with server.socket("/api/live") as socket:
        tab = Tab(socket)
        await tab.send(op="attach", request_id=accepted["request_id"], after=at)
        server.steered.say("b")
        event = await tab.until(lambda one: "event" in one)
        assert event["event"]["sequence_number"] == at + 1
        await tab.send(op="detach", request_id=accepted["request_id"])
        await tab.send(op="ping")
        await tab.until(lambda one: one == {"op": "pong"})
        server.steered.say("c")
        server.steered.end()
        await tab.until(chat_where(last_status="completed"))
    assert len(tab.events(accepted["request_id"])) == 1


async def test_every_change_of_a_chat_is_told_without_asking(server):
    async with server.socket("/api/live") as socket:
        tab = Tab(socket)
        await tab.until(lambda one: one.get("op") == "hello")
        accepted = await server.ask("hi", "steered")
        chat_id = accepted["chat_id"]
        running = await tab.until(chat_where(id=chat_id, running_request_id=accepted["request_id"]))
        server.steered.end()
        await tab.until(chat_where(id=chat_id, unread=True, last_status="completed"))
        await server.http.post(f"/api/chats/{chat_id}/read")
        await tab.until(chat_where(id=chat_id, unread=False))
        await server.http.patch(f"/api/chats/{chat_id}", json={"title": "New name"})
        await tab.until(chat_where(id=chat_id, title="New name"))
        await server.http.delete(f"/api/chats/{chat_id}")
        await tab.until(chat_where(id=chat_id, deleted=True))
    revisions = [one["chat"]["revision"] for one in tab.told if "chat" in one]
    assert revisions == sorted(set(revisions))
    assert running["chat"]["agent_id"] == "steered"


async def test_with_since_nothing_between_the_list_and_the_socket_is_missed(server):
    page = await server.get("/api/chats")
    accepted = await server.asked_and_ended()
    async with server.socket(f"/api/live?since={page['revision']}") as socket:
        await Tab(socket).until(chat_where(id=accepted["chat_id"], last_status="completed"))


async def test_a_lost_wake_up_costs_seconds_only(tmp_path):
    """Guard: the doorbells' own look at the store."""

    def deafen(app):
        app.state.core.bus.publish = silent

    async def silent(topics):
        pass

    async with serving(tmp_path, prepare=deafen) as server, server.socket("/api/live") as socket:
        tab = Tab(socket)
        await tab.until(lambda one: one.get("op") == "hello")
        await server.http.post("/api/chats", json={"title": "Unannounced"})
        await tab.until(chat_where(title="Unannounced"))


async def test_what_cannot_be_followed_is_told_and_the_line_stays(server):
    async with server.socket("/api/live") as socket:
        tab = Tab(socket)
        wrong: list[tuple[dict[str, object], int]] = [
            ({"op": "attach", "request_id": "resp_unknown"}, 404),
            ({"op": "attach"}, 404),
            ({"op": "attach", "request_id": ["x"]}, 404),
            ({"op": "attach", "request_id": "resp_1", "after": "x"}, 400),
            ({"op": "attach", "request_id": "resp_1", "after": -2}, 400),
            ({"op": "dance"}, 400),
            ({}, 400),
        ]
        for said, code in wrong:
            await tab.send(**said)
            assert (await tab.until(lambda one: "error" in one))["error"]["status"] == code
        await tab.send(op="detach", request_id="resp_never")
        await tab.send(op="ping")
        await tab.until(lambda one: one == {"op": "pong"})


async def test_a_line_follows_a_bounded_number_of_requests(server):
    accepted = [await server.ask("hi", "steered") for _ in range(65)]
    async with server.socket("/api/live") as socket:
        tab = Tab(socket)
        for one in accepted:
            await tab.send(op="attach", request_id=one["request_id"], after=100)
        refused = await tab.until(lambda one: "error" in one)
    assert refused["error"]["code"] == "too_many_attachments"
    assert refused["request_id"] == accepted[-1]["request_id"]


async def test_a_quiet_line_pings(tmp_path):
    async with serving(tmp_path, keepalive_s=0.1) as server, server.socket("/api/live") as socket:
        for _ in range(2):
            await Tab(socket).until(lambda one: one == {"op": "ping"})


async def test_a_draining_server_closes_lines_with_come_back(server):
    async with server.socket("/api/live") as socket:
        await socket.recv()
        server.core.draining = True
        with pytest.raises(ConnectionClosed):
            await Tab(socket).until(lambda _: False)
        assert socket.close_code == 1012


async def frames(response):
    """Yield the id and the message of each frame of a live event stream."""
    rest = b""
    async for block in response.blocks():
        *whole, rest = (rest + block).split(b"\n\n")
        for frame in whole:
            fields = dict(
                line.split(": ", 1) for line in frame.decode().split("\n") if line[0] != ":"
            )
            if "data" in fields:
                yield fields["id"], json.loads(fields["data"])


async def read_until(stream, wanted):
    """Return the id of the frame that is as wanted, and all messages up to it."""
    told = []
    async with asyncio.timeout(10):
        async for cursor, message in stream:
            told.append(message)
            if wanted(message):
                return cursor, told
    raise AssertionError(f"ended: {told}")


async def test_the_sse_twin_tells_the_same_and_resumes_exactly(server):
    accepted = await server.ask("hi", "steered")
    server.steered.say("a")
    await server.shown(accepted["request_id"], "a")
    path = f"/api/live?since=0&attach={accepted['request_id']}"
    first = await server.stream(path)
    cursor, before = await read_until(
        frames(first), lambda one: one.get("event", {}).get("delta") == "a"
    )
    first.drop()
    server.steered.say("b")
    server.steered.end()
    await server.ended(accepted["request_id"])
    second = await server.stream(path, Last_Event_ID=cursor)
    stream = frames(second)
    _, after = await read_until(stream, ending(accepted))
    if not any("chat" in one for one in after):
        after += (await read_until(stream, chat_where(last_status="completed")))[1]
    second.drop()
    numbers = [one["event"]["sequence_number"] for one in before + after if "event" in one]
    assert numbers == list(range(len(numbers)))
    assert any("chat" in one for one in before + after)


@pytest.fixture
def slow(server, monkeypatch):
    """Let the greeting take its time."""
    revision = server.core.store.revision

    async def later(user_id):
        await asyncio.sleep(0.2)  # a store that is far away
        return await revision(user_id)

    monkeypatch.setattr(server.core.store, "revision", later)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("known", [True, False])
async def test_the_greeting_comes_before_what_is_followed(server, known):
    accepted = await server.asked_and_ended()
    request_id = accepted["request_id"] if known else "resp_nope"
    response = await server.stream(f"/api/live?attach={request_id}")
    _, twin = await read_until(frames(response), lambda one: "request_id" in one)
    response.drop()
    async with server.socket("/api/live") as socket:
        tab = Tab(socket)
        await tab.send(op="attach", request_id=request_id)
        await tab.until(lambda one: "request_id" in one)
    for told in (twin, tab.told):
        assert (told[0]["op"], told[-1]["request_id"]) == ("hello", request_id)
        assert ("error" in told[-1]) is not known


async def test_a_twin_whose_reader_leaves_while_pieces_wait_leaves_nothing_behind(server):
    """Guard: nothing is told last to who has left; else its task waits for room for ever."""
    for _ in range(3):
        await server.http.post("/api/chats", json={})
    before = asyncio.all_tasks()
    line = FramedLine(server.core, "local", 0, {})
    line.queue = asyncio.Queue(1)
    pieces = line.pieces(Doorbells(server.core))
    await anext(pieces)

    async def waits():
        return line.queue.full()

    await eventually(waits, within_s=5, what="a piece waits")
    await asyncio.wait_for(pieces.aclose(), 5)
    mine = {task.get_name() for task in asyncio.all_tasks() - before}
    assert mine <= {"doorbells"}


async def test_no_frame_of_a_twin_tells_a_cursor_of_what_comes_after_it(server):
    """Guard: `_turn`; who reconnects after such a frame would never get what it overtook."""
    line = FramedLine(server.core, "local", 0, {})
    line.queue = asyncio.Queue(1)
    line.queue.put_nowait(b"")
    slow = asyncio.create_task(line.events("resp_a", Batch(0, (b"{}",), ended=False)))
    await asyncio.sleep(0)  # it waits for room
    quick = asyncio.create_task(line.events("resp_b", Batch(0, (b"{}",), ended=False)))
    _, first, second = [await line.queue.get() or b"" for _ in range(3)]
    assert first.startswith(b"id: 0;resp_a:0\n")
    assert second.startswith(b"id: 0;resp_a:0;resp_b:0\n")
    await asyncio.gather(slow, quick)


@pytest.mark.parametrize(
    ("query", "header", "revision"),
    [("since=abc", "7", 7), ("since=5", "7", 7), ("since=-1", "", 0), ("since=5", "", 5)],
)
async def test_a_twin_begins_where_its_header_says_whatever_the_address_does(
    server, query, header, revision
):
    response = await server.stream(f"/api/live?{query}", Last_Event_ID=header)
    _, told = await read_until(frames(response), lambda one: one.get("op") == "hello")
    response.drop()
    assert told[-1]["revision"] == revision


@pytest.mark.parametrize(
    ("query", "header", "status"),
    [("attach=;", "", 422), ("since=-2", "", 400), ("", "x", 400), ("", "1;resp_1", 400)],
)
async def test_a_twin_with_a_bad_cursor_is_refused(server, query, header, status):
    response = await server.http.get(f"/api/live?{query}", headers={"Last-Event-ID": header})
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
