"""Clients that are slow, greedy, idle by the thousand or out of their minds: nobody notices."""

import asyncio
import json
import resource
import socket
import time

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.flow.serving import serving
from tests.world.server import Server
from tests.world.waiting import eventually

IDLE, STALL_MAX_S = 1000, 15.0
CLOSED_WELL = {1000, 1003, 1007, 1009}
FEW = (
    '[limits]\nheader_timeout_s = 1.0\nbody_timeout_s = 1.0\n\n[agents.guide]\nhandler = "guide"\n'
)
PATIENT_S = 15
RESET = b"408 431"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real process, with uvicorn as we configure it."""
    server = Server(tmp_path_factory.mktemp("hard"), "stream_write_timeout_s = 1.0\n" + FEW)
    try:
        asyncio.run(server.start())
        yield server
    finally:
        server.end()


async def told(server, *pieces, pause_s=0.0):
    """Say pieces on a bare connection; return all that comes until it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)  # a slow client is what is tried
        return await asyncio.wait_for(reader.read(), PATIENT_S)
    except ConnectionError:
        return RESET  # what it said is lost with what was still on its way to it
    finally:
        writer.transport.abort()


def connections(server):
    found = psutil.Process(server.pid).net_connections(kind="tcp")
    return sum(one.status != psutil.CONN_LISTEN for one in found)


async def settled(fact, what):
    """Wait for a fact that is looked at without waiting."""

    async def look():
        return fact()

    await eventually(look, within_s=45, what=what)


HEAD = b"POST /api/invoke_endpoint HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ([], b""),
        ([b"GET /heal"], b"408"),
        ([b"\r\n"] * 3, b""),
        ([HEAD, *([b"X-A: b\r\n"] * 40)], b"408"),
        ([HEAD, b"Content-Length: 20\r\n\r\n", *([b" "] * 12)], b"408"),
        ([b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET /h"], b"408"),
    ],
    ids=["silent", "half a line", "blank", "headers", "body", "second call"],
)
async def test_who_sends_too_slowly_is_shown_out(server, pieces, status):
    """Guard: the timer of `connection.Connection` and the one in `arriving`."""
    begun = time.monotonic()
    answer = await told(server, *pieces, pause_s=0.1)
    assert status in answer
    assert time.monotonic() - begun < PATIENT_S


async def test_a_head_that_has_no_end_is_refused(server):
    """Guard: `HEAD_BYTES_MAX`; the parser itself would take gigabytes."""
    answer = await told(server, HEAD, *([b"X-A: " + b"b" * 16_000 + b"\r\n"] * 8))
    assert b"431" in answer
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{server.url}/healthz")).status_code == 200


async def test_what_trails_a_body_is_no_header(server):
    """Guard: `Connection.on_header`. A proxy may have cut `X-Forwarded-User` out of the head only.

    Here a trailer would make the second question a repetition of the first one. All comes at once:
    a head that is looked at before its trailers are here is safe anyway.
    """
    body = b'{"message": "hi"}'
    chunks = b"%x\r\n%s\r\n0\r\n" % (len(body), body)
    trailers = b"Idempotency-Key: trailed\r\n" + b"X: y\r\n" * 9
    answers = [await told(server, CHUNKED + chunks + trailers + b"\r\n") for _ in range(2)]
    assert [b" 202 " in one for one in answers] == [True, True], answers
    first, second = [one.split(b'"request_id":"')[1][:29] for one in answers]
    assert first != second


LONG = b"0" * 16_000
PIECES = 40
"""More than what is let pass, and what a busy server reads in one go together with the head."""


@pytest.mark.parametrize(
    "pieces",
    [
        [b"1;a=", *[LONG] * PIECES],
        [LONG] * PIECES,
        [b"0\r\n", *[b"X: " + LONG + b"\r\n"] * PIECES],
    ],
    ids=["extension", "zeros before a size", "trailers"],
)
async def test_what_frames_a_body_has_an_end_too(server, pieces):
    """Guard: `_body` of `Connection`; without it all is read until the body's time is over (408).

    Nothing is said: the call is the application's already, and that learns that its caller left.
    """
    assert b"HTTP/1.1" not in await told(server, CHUNKED, *pieces)


async def test_a_body_in_the_smallest_chunks_is_taken(server):
    """Guard: `FRAME_BYTES`; each byte comes with five others here, 100 kB in all."""
    body = b'{"message": "%s"}' % (b"x" * 20_000)
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    answer = await told(server, CHUNKED, chunks + b"0\r\n\r\n")
    assert b" 202 " in answer.splitlines()[0]


async def test_an_old_client_reads_an_answer_without_frames_until_the_close(server):
    """Guard: `UntilClosed`. RFC 9112, 6.1; who speaks HTTP/1.0 took the chunks' sizes for text."""
    old = b" HTTP/1.0\r\nHost: localhost\r\n\r\n"
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        asked = await client.post("/api/invoke_endpoint", json={"message": "hi"})
        path = f"/api/requests/{asked.json()['request_id']}"
        await client.post(f"{path}/cancel")
    stream = await told(server, b"GET %s/stream" % path.encode() + old)
    head, _, events = stream.partition(b"\r\n\r\n")
    assert (b" 200 " in head, b"chunked" in head) == (True, False), head
    assert events.startswith(b": stream\n\nid: 0\n")
    assert events.endswith(b"}\n\n")
    assert b"event: response.failed\n" in events
    head, _, whole = (await told(server, b"GET /healthz" + old)).partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(whole) in head.lower()


async def test_a_call_that_names_two_hosts_is_refused(server):
    """Guard: RFC 9112, 3.2: who stands before us may have looked at the other one."""
    hosts = b"Host: localhost\r\nHost: other\r\nConnection: close\r\n\r\n"
    answer = await told(server, b"GET /healthz HTTP/1.1\r\n" + hosts)
    assert b" 400 " in answer.splitlines()[0]


async def test_who_leaves_in_mid_question_breaks_nothing(server):
    """Guard: the guard's look at `ClientDisconnect`; it would be told, and counted, as our bug."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(HEAD + b'Content-Length: 200\r\n\r\n{"message": ')
    await writer.drain()
    await settled(lambda: connections(server), "it is connected")
    writer.close()
    await settled(lambda: not connections(server), "it is gone")
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        shown = (await client.get("/metrics")).text
    assert 'status="500"' not in shown
    assert "broke" not in server.story(100_000)


async def test_who_takes_nothing_of_an_answer_does_not_hold_it_for_ever(server):
    """Guard: TCP_USER_TIMEOUT on the listener; the process has sent all and waits for nothing."""
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=20) as client:
        body = {"message": "x" * 900_000, "agent_id": "guide"}
        chat_id = (await client.post("/api/invoke_endpoint", json=body)).json()["chat_id"]
        for _ in range(3):
            await client.post("/api/invoke_endpoint", json=body | {"chat_id": chat_id})
    await settled(lambda: not connections(server), "nobody else is there")
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect(("127.0.0.1", server.port))
        lazy.send(f"GET /api/chats/{chat_id}/messages HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await settled(lambda: connections(server), "it is connected")
        await settled(lambda: not connections(server), "it is cut off")


async def test_a_thousand_idle_sockets_stall_nobody_and_leave_nothing(tmp_path):
    """In one loop with their clients, so that the time of a call tells of both sides' work."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    try:
        async with serving(tmp_path) as server:
            await _thousand(server)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def _thousand(server):
    idle = []
    for _ in range(IDLE // 50):
        idle += await asyncio.gather(*(_socket(server.port) for _ in range(50)))
    begun = time.monotonic()
    asked = await server.ask("hi", "steered")
    server.steered.say("a")
    await server.shown(asked["request_id"], "a")
    assert time.monotonic() - begun < STALL_MAX_S
    server.steered.end()
    await server.ended(asked["request_id"])
    tasks = len(asyncio.all_tasks())
    for writer in idle:
        writer.transport.abort()
    await settled(lambda: len(asyncio.all_tasks()) < tasks - IDLE, "they are forgotten")


async def _socket(port):
    """Open a live socket by hand, as cheaply as can be; return what closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET /api/live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    assert b'"hello"' in await reader.readuntil(b"}")
    return writer


# Whatever is said to a socket or asked of a stream, the answer is one that is written down.

JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=12,
)
OPS = st.fixed_dictionaries(
    {"op": st.sampled_from(["attach", "detach", "ping", "cancel", "", 1, None])},
    optional={
        "request_id": JSONISH | st.sampled_from(["resp_0", "", "../x", "\x00"]),
        "after": JSONISH | st.integers(-3, 2**70),
    },
)
FRAMES = st.lists(
    st.one_of(
        OPS.map(json.dumps),
        JSONISH.map(json.dumps),
        st.text(max_size=200),
        st.binary(max_size=200),
        st.sampled_from(
            ["[" * 5000, '{"op":' * 3000, "\ud83d".encode("utf-8", "replace").decode()]
        ),
    ),
    min_size=1,
    max_size=6,
)
FUZZ = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Served:
    """A server for hypothesis, which gives each example a loop of its own."""

    def __init__(self, url, request_id):
        self.url, self.request_id = url, request_id


@pytest.fixture(scope="module")
def alive(tmp_path_factory):
    """A server with an answer; at the end it is well, and its log tells of nothing that broke."""
    server = Server(tmp_path_factory.mktemp("alive"), FEW.replace("1.0", "20.0"))
    try:
        asyncio.run(server.start())
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            asked = client.post("/api/invoke_endpoint", json={"message": "What is a lease?"})
            yield Served(server.url, asked.json()["request_id"])
            assert client.get("/readyz").status_code == 200
        log = server.story(100_000)
        assert "Traceback" not in log, log
    finally:
        server.end()


async def in_a_thread(test):
    await asyncio.to_thread(test)


async def test_whatever_is_said_to_a_socket_breaks_nothing(alive):
    """The log tells of what broke; each socket still answers a ping, or was closed well."""

    @FUZZ
    @given(FRAMES, st.sampled_from(["/api/live", "request"]))
    def said(frames, where):
        path = f"/api/requests/{alive.request_id}/stream" if where == "request" else where
        asyncio.run(_said(alive.url.replace("http", "ws", 1) + path, frames))

    await in_a_thread(said)


async def _said(url, frames):
    async with connect(url, proxy=None) as socket:
        try:
            for frame in frames:
                await socket.send(frame)
            await socket.send('{"op": "ping"}')
            async with asyncio.timeout(PATIENT_S):
                while b"pong" not in (told := (await socket.recv(decode=False))):
                    json.loads(told)
                    if url.endswith("/stream"):
                        break
        except ConnectionClosed:
            await socket.wait_closed()
    assert socket.close_code in CLOSED_WELL


QUERIES = st.dictionaries(
    st.sampled_from(["after", "since", "attach", "dialect", "wait_s", "starting_after", "stream"]),
    st.text(max_size=40) | st.integers().map(str) | st.sampled_from(["resp_0:1", "-1", "1e9", "٣"]),
    max_size=4,
)
HEADERS = st.dictionaries(
    st.sampled_from(["Last-Event-ID", "Accept", "If-None-Match", "Range", "Upgrade"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60),
    max_size=3,
)


async def test_whatever_a_stream_is_asked_for_the_answer_is_a_known_one(alive):
    @FUZZ
    @given(QUERIES, HEADERS, st.sampled_from(["stream", "status", "v1", "live"]))
    def asked(query, headers, where):
        path = {
            "stream": f"/api/requests/{alive.request_id}/stream",
            "status": f"/api/requests/{alive.request_id}/status",
            "v1": f"/v1/responses/{alive.request_id}",
            "live": "/api/live",
        }[where]
        query = {**query, "wait_s": "0"} if where == "status" else query
        with (
            httpx.Client(base_url=alive.url, trust_env=False, timeout=20) as client,
            client.stream("GET", path, params=query, headers=headers) as response,
        ):
            assert response.status_code < 500, response.read()
            if "event-stream" in response.headers.get("content-type", ""):
                next(response.iter_raw(), b"")

    await in_a_thread(asked)


async def test_a_frame_over_the_limit_closes_its_socket_only(server):
    url = server.url.replace("http", "ws", 1) + "/api/live"
    async with connect(url, proxy=None) as greedy, connect(url, proxy=None) as other:
        await greedy.send("x" * 70_000)
        await greedy.wait_closed()
        assert greedy.close_code == 1009
        await other.send('{"op": "ping"}')
        while json.loads(await other.recv()).get("op") != "pong":
            pass


async def test_a_page_of_another_site_opens_no_socket(server):
    """Guard: the guard's look at `Origin`, before any handshake."""
    for path in ("/api/live", "/api/requests/resp_0/stream", "/requests/resp_0/stream"):
        url = server.url.replace("http", "ws", 1) + path
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, proxy=None, additional_headers={"Origin": "https://evil.example"})
        assert refused.value.response.status_code == 403
