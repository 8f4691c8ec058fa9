"""The HTTP client against servers that we hold in our hands, byte by byte, on both event loops."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from perdure.http import ConnectFailed, HttpClient, HttpError, RequestInvalid, ResponseBroken

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
CERTIFICATE = Path(__file__).parents[1] / "upstream" / "localhost.pem"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
HELLO = HEAD + b"content-length: 5\r\n\r\nhello"

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    client = HttpClient(connect_timeout_s=5, ca_file=str(CERTIFICATE))
    yield client
    await client.close()


class Server:
    """Plays one list of replies per connection; remembers requests and how connections ended.

    A reply is written when a request has been read. After the last one the connection is closed,
    unless that reply is `...`: then the server waits for the client to close.
    """

    def __init__(self, *connections: list[bytes | object]) -> None:
        self.replies = list(connections)
        self.requests: list[bytes] = []
        self.connections = 0
        self.client_closed = asyncio.Event()
        self.replied = asyncio.Event()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for reply in self.replies.pop(0):
            if reply is ...:
                await reader.read()
                self.client_closed.set()
                break
            self.requests.append(await read_request(reader))
            assert isinstance(reply, bytes)
            writer.write(reply)
            self.replied.set()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    sizes = [line for line in head.split(b"\r\n") if line.startswith(b"content-length: ")]
    return head + await reader.readexactly(int(sizes[0].split()[1]) if sizes else 0)


@asynccontextmanager
async def serving(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())
        try:
            await talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    tasks: list[asyncio.Task[None] | None] = []
    server = await asyncio.start_server(guarded, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in filter(None, tasks):
            task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)


@asynccontextmanager
async def answering(*connections: list[bytes | object]) -> AsyncIterator[tuple[Server, str]]:
    server = Server(*connections)
    async with serving(server.talk) as port:
        yield server, f"http://127.0.0.1:{port}"


async def get(client: HttpClient, url: str) -> bytes:
    async with client.request("GET", url) as response:
        return await response.read(1 << 20)


async def collect(client: HttpClient, url: str, got: list[bytes]) -> None:
    async with client.request("GET", url) as response:
        async for data in response:
            got.append(data)  # noqa: PERF401 - what came before an error counts


WHOLE = {
    "content-length": HELLO,
    "chunks": CHUNKED + b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\ntrailer: x\r\n\r\n",
    "until the close": HEAD + b"\r\nhello",
    "behind interim responses": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\na: b\r\n\r\n"
    + HELLO,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\nhello",
}


@pytest.mark.parametrize("framing", WHOLE)
async def test_a_body_is_read_whole(client: HttpClient, framing: str) -> None:
    async with answering([WHOLE[framing]]) as (_, url):
        assert await get(client, url) == b"hello"


CUT = {
    "content-length": HELLO[:-2],
    "chunks": CHUNKED + b"3\r\nhel\r\n",
    "in a chunk": CHUNKED + b"5\r\nhel",
    "before the last line": CHUNKED + b"3\r\nhel\r\n0\r\n",
}


@pytest.mark.parametrize("framing", CUT)
async def test_a_cut_body_is_an_error_behind_what_came(client: HttpClient, framing: str) -> None:
    got: list[bytes] = []
    async with answering([CUT[framing]]) as (_, url):
        with pytest.raises(ResponseBroken, match="in the middle of the response"):
            await collect(client, url, got)
    assert b"".join(got) == b"hel"


NOT_HTTP = {
    "another protocol": (b"220 smtp.example ready\r\n", "not HTTP"),
    "a bad chunk size": (CHUNKED + b"zz\r\nhel\r\n", "not HTTP"),
    "an unasked upgrade": (b"HTTP/1.1 101 Switching\r\n\r\n", "status 101"),
    "too many headers": (HEAD + b"a: b\r\n" * 300 + b"\r\n", "more than 200 header lines"),
    "a head without end": (HEAD + b"a: " + b"b" * 200_000, "more than 65536 bytes of headers"),
    "trailers without end": (
        CHUNKED + b"1\r\nx\r\n0\r\na: " + b"b" * 1_000_000,
        "more than 65536 bytes of headers",
    ),
    "nothing": (b"", "without a response"),
    "half a head": (HEAD, "without a response"),
}


@pytest.mark.parametrize("name", NOT_HTTP)
async def test_what_is_not_http_is_an_error(client: HttpClient, name: str) -> None:
    reply, said = NOT_HTTP[name]
    async with answering([reply]) as (_, url):
        with pytest.raises(ResponseBroken, match=said):
            await get(client, url)


async def test_header_names_have_any_case_and_repeated_values_are_joined(
    client: HttpClient,
) -> None:
    async with (
        answering([HEAD + b"X-A: 1\r\nx-a: 2\r\ncontent-length: 0\r\n\r\n"]) as (_, url),
        client.request("GET", url) as response,
    ):
        assert response.headers["x-A"] == "1, 2"
        assert response.headers.get("Content-Type") == "text/plain"
        assert response.headers.get("absent") is None


async def test_a_request_says_what_it_was_told(client: HttpClient) -> None:
    async with answering([HELLO]) as (server, url):
        headers = {"Authorization": "Bearer x"}
        async with client.request("POST", f"{url}/a b?q=é", headers=headers, body=b"{}"):
            pass
    host = url.removeprefix("http://").encode()
    assert server.requests == [
        b"POST /a%20b?q=%C3%A9 HTTP/1.1\r\nhost: " + host + b"\r\naccept-encoding: identity\r\n"
        b"authorization: Bearer x\r\ncontent-length: 2\r\n\r\n{}",
    ]


@pytest.mark.parametrize("tls", [False, True])
async def test_the_address_that_was_looked_up_is_connected_to_under_the_servers_name(
    tls: bool,
) -> None:
    """Guard against DNS rebinding: there is no second look at the name, which has no address."""

    async def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.9", "127.0.0.1"]  # nobody listens at the first

    asked: list[tuple[str, int]] = []
    server = Server([HELLO])
    name = "localhost" if tls else "hooks.example"
    client = HttpClient(ca_file=str(CERTIFICATE), resolve=resolve)
    async with serving(server.talk, server_side() if tls else None) as port:
        url = f"{'https' if tls else 'http'}://{name}:{port}/"
        async with client.request("GET", url) as response:
            assert await response.read(9) == b"hello"
    await client.close()
    assert f"host: {name}:{port}\r\n".encode() in server.requests[0]
    assert asked == [(name, port)]


async def test_a_name_without_an_address_is_no_connection() -> None:
    async def resolve(_: str, __: int) -> list[str]:
        return []

    client = HttpClient(resolve=resolve)
    with pytest.raises(ConnectFailed, match="no address"):
        async with client.request("GET", "http://hooks.example/"):
            pass


BAD = {
    "a line break in a header": ("http://127.0.0.1:1/", {"x": "secret\r\nhost: evil"}),
    "a wide character in a header": ("http://127.0.0.1:1/", {"x": "secret€"}),
    "another scheme": ("ftp://secret/", {}),
    "no host": ("http:///secret", {}),
    "no port": ("http://secret:port/", {}),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_cannot_be_sent_is_refused_without_showing_it(
    client: HttpClient, name: str
) -> None:
    url, headers = BAD[name]
    with pytest.raises(RequestInvalid) as refusal:
        async with client.request("GET", url, headers=headers):
            pass
    assert "secret" not in str(refusal.value)


async def test_credentials_in_the_address_become_a_header_and_no_error(client: HttpClient) -> None:
    async with answering([b""]) as (server, url):
        with pytest.raises(ResponseBroken) as broken:
            await get(client, url.replace("http://", "http://me:secret@"))
    assert b"authorization: Basic bWU6c2VjcmV0\r\n" in server.requests[0]
    assert "secret" not in str(broken.value)


# The pool.


async def test_a_connection_is_used_again_after_a_complete_body(client: HttpClient) -> None:
    async with answering([HELLO, WHOLE["chunks"], HELLO]) as (server, url):
        assert [await get(client, url) for _ in range(3)] == [b"hello"] * 3
        assert server.connections == 1


NOT_KEPT = {
    "the server says close": HEAD + b"connection: close\r\ncontent-length: 5\r\n\r\nhello",
    "it ended by the close": HEAD + b"\r\nhello",
    "there is more than one answer": HELLO + HELLO,
    "it speaks HTTP/1.0": b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
}


@pytest.mark.parametrize("reason", NOT_KEPT)
async def test_a_connection_is_not_used_again_if(client: HttpClient, reason: str) -> None:
    # The server itself would go on, unless its close is what ends the body.
    rest = [] if reason == "it ended by the close" else [...]
    async with answering([NOT_KEPT[reason], *rest], [HELLO]) as (server, url):
        assert await get(client, url) == b"hello"
        assert await get(client, url) == b"hello"
        assert server.connections == 2


async def test_a_connection_is_not_used_again_after_its_idle_time() -> None:
    client = HttpClient(keep_alive_s=0)
    async with answering([HELLO, ...], [HELLO]) as (server, url):
        assert await get(client, url) == b"hello"
        assert await get(client, url) == b"hello"
        assert server.connections == 2
    await client.close()


async def test_the_pool_keeps_only_so_many() -> None:
    client = HttpClient(pool_size=1)
    async with answering([HELLO, ...], [HELLO, ...]) as (server, url):
        async with client.request("GET", url), client.request("GET", url):
            pass
        async with asyncio.timeout(5):
            await server.client_closed.wait()
    await client.close()


async def test_bytes_that_nobody_asked_for_are_not_the_next_answer(client: HttpClient) -> None:
    unasked, seen = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(HELLO)
        if not unasked.is_set():
            await unasked.wait()
            writer.write(HELLO.replace(b"hello", b"wrong"))
            await reader.read()
            seen.set()

    async with serving(talk) as port, asyncio.timeout(5):
        assert await get(client, f"http://127.0.0.1:{port}") == b"hello"
        unasked.set()
        await seen.wait()
        assert await get(client, f"http://127.0.0.1:{port}") == b"hello"


async def test_a_stale_connection_is_replaced_once(client: HttpClient) -> None:
    async with answering([HELLO, b""], [HELLO]) as (server, url):
        assert await get(client, url) == b"hello"
        async with client.request("POST", url, body=b"{}") as response:
            assert await response.read(9) == b"hello"
        assert len(server.requests) == 3
        assert server.connections == 2


async def test_a_request_is_never_repeated_once_a_byte_came_back(client: HttpClient) -> None:
    async with answering([HELLO, b"H"], [HELLO]) as (server, url):
        assert await get(client, url) == b"hello"
        with pytest.raises(ResponseBroken):
            await get(client, url)
        assert server.connections == 1


async def test_a_request_on_a_new_connection_is_never_repeated(client: HttpClient) -> None:
    async with answering([b""], [HELLO]) as (server, url):
        with pytest.raises(ResponseBroken):
            await get(client, url)
        assert server.connections == 1


# Leaving early.


async def test_leaving_a_response_closes_its_connection_at_once(client: HttpClient) -> None:
    async with answering([CHUNKED + b"2\r\nhe\r\n", ...]) as (server, url):
        async with client.request("GET", url) as response:
            assert await anext(response) == b"he"
        async with asyncio.timeout(1):
            await server.client_closed.wait()
        with pytest.raises(ResponseBroken, match="was left"):
            await anext(response)


@pytest.mark.parametrize("reply", [b"", CHUNKED], ids=["before the head", "in the body"])
async def test_cancelling_closes_the_connection_at_once(client: HttpClient, reply: bytes) -> None:
    async with answering([reply, ...]) as (server, url), asyncio.timeout(5):
        task = asyncio.create_task(get(client, url))
        await server.replied.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.client_closed.wait()


async def test_a_finished_response_leaves_its_connection_for_the_next(client: HttpClient) -> None:
    end = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await read_request(reader)
            writer.write(CHUNKED + b"2\r\nhe\r\n")
            await end.wait()
            writer.write(b"3\r\nllo\r\n0\r\n\r\n")
        await reader.read()

    async with serving(talk) as port, asyncio.timeout(5):
        url = f"http://127.0.0.1:{port}"
        async with client.request("GET", url) as response:
            await anext(response)
            response.finish()
        end.set()
        while not client.idle:  # noqa: ASYNC110 - the pool wakes nobody
            await asyncio.sleep(0)
        assert await get(client, url) == b"hello"


async def test_a_finished_response_that_goes_on_is_closed(client: HttpClient) -> None:
    async with answering([CHUNKED + b"2\r\nhe\r\n", ...]) as (server, url), asyncio.timeout(5):
        async with client.request("GET", url) as response:
            await anext(response)
            response.finish()
        await server.client_closed.wait()


async def test_a_late_reader_holds_bounded_memory_and_loses_nothing(client: HttpClient) -> None:
    sent, blocked = 0, asyncio.Event()
    block = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(CHUNKED)
        while sent < 64 << 20:
            writer.write(block)
            try:
                async with asyncio.timeout(0.5):
                    await writer.drain()
            except TimeoutError:
                blocked.set()
                await writer.drain()
            sent += 0x4000
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async with (
        serving(talk) as port,
        asyncio.timeout(20),
        client.request("GET", f"http://127.0.0.1:{port}") as response,
    ):
        await blocked.wait()
        assert sent < 32 << 20  # the sockets' own buffers, and ours
        assert len(await anext(response)) < 1 << 20
        size = sum([len(data) async for data in response])
        assert size > 60 << 20
        assert size % 0x4000 != 1


# Connecting.


async def test_a_closed_port_is_named(client: HttpClient) -> None:
    async with serving(Server().talk) as port:
        pass
    with pytest.raises(ConnectFailed, match=f"Cannot connect to 127.0.0.1:{port}: ") as failure:
        await get(client, f"http://127.0.0.1:{port}")
    assert failure.value.retryable


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 70 + ".invalid"])
async def test_an_unknown_name_is_an_error(client: HttpClient, host: str) -> None:
    with pytest.raises(ConnectFailed, match=host):
        await get(client, f"http://{host}/")


async def test_connecting_has_a_timeout() -> None:
    client = HttpClient(connect_timeout_s=0.2)
    async with answering([b"", ...]) as (_, url):  # never says a word of TLS
        with pytest.raises(ConnectFailed, match=r"no answer within 0.2 s"):
            await get(client, url.replace("http://", "https://"))


def server_side() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


async def test_tls_is_spoken_and_closed_at_once(client: HttpClient) -> None:
    server = Server([HELLO, CHUNKED + b"2\r\nhe\r\n", ...])
    async with serving(server.talk, server_side()) as port, asyncio.timeout(5):
        assert await get(client, f"https://localhost:{port}") == b"hello"
        async with client.request("GET", f"https://localhost:{port}") as response:
            assert await anext(response) == b"he"
        await server.client_closed.wait()


async def test_an_untrusted_certificate_is_refused() -> None:
    client = HttpClient()
    async with serving(Server([HELLO]).talk, server_side()) as port:
        with pytest.raises(ConnectFailed, match="certificate is not trusted"):
            await get(client, f"https://localhost:{port}")


async def test_a_server_without_tls_is_an_error(client: HttpClient) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(HELLO)

    async with serving(talk) as port:
        with pytest.raises(ConnectFailed, match="TLS failed"):
            await get(client, f"https://localhost:{port}")


# Proxies.


async def test_http_goes_through_the_proxy_by_its_whole_address(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with answering([HELLO]) as (server, url):
        monkeypatch.setenv("http_proxy", url.replace("http://", "http://me:secret@"))
        assert await get(client, "http://agent.test:99/x?y") == b"hello"
    assert server.requests[0].startswith(
        b"GET http://agent.test:99/x?y HTTP/1.1\r\nhost: agent.test:99\r\n"
    )
    assert b"\r\nproxy-authorization: Basic bWU6c2VjcmV0\r\n" in server.requests[0]


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
    finally:
        writer.close()


async def test_https_goes_through_the_proxys_tunnel(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await read_request(reader))
        there, back = await asyncio.open_connection("127.0.0.1", behind)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pump(reader, back), pump(there, writer))

    async with AsyncExitStack() as stack:
        server = Server([HELLO, HELLO])
        behind = await stack.enter_async_context(serving(server.talk, server_side()))
        port = await stack.enter_async_context(serving(tunnel))
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{port}")
        assert await get(client, "https://agent.test/x") == b"hello"
        assert await get(client, "https://agent.test/x") == b"hello"
        await client.close()
    assert asked == [b"CONNECT agent.test:443 HTTP/1.1\r\nhost: agent.test:443\r\n\r\n"]
    assert server.requests[0].startswith(b"GET /x HTTP/1.1\r\nhost: agent.test\r\n")


async def test_a_proxy_that_refuses_is_an_error(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with answering([b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n"]) as (_, url):
        monkeypatch.setenv("https_proxy", url)
        with pytest.raises(ConnectFailed, match=r"did not open a tunnel: status 407"):
            await get(client, "https://agent.test/")


async def test_loopback_and_excepted_names_are_reached_without_the_proxy(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", ".invalid")
    async with answering([HELLO]) as (_, url), answering([HELLO]) as (proxy, proxy_url):
        monkeypatch.setenv("http_proxy", proxy_url)
        assert await get(client, url) == b"hello"
        with pytest.raises(ConnectFailed, match=r"Cannot connect to x\.invalid:80"):
            await get(client, "http://x.invalid/")
        assert not proxy.requests


# Reading at once.


async def test_a_body_is_read_up_to_a_limit(client: HttpClient) -> None:
    async with answering([HELLO]) as (_, url), client.request("GET", url) as response:
        assert await response.read(3) == b"hel"


JSON_BODIES = {
    "no JSON": (b"5\r\nhello\r\n0\r\n\r\n", "did not answer in JSON"),
    "no UTF-8": (b'3\r\n"\xff"\r\n0\r\n\r\n', "did not answer in JSON"),
    "too much": (b"c\r\n" + b'"0123456789"' + b"\r\n0\r\n\r\n", "more than 9 bytes"),
}


@pytest.mark.parametrize("name", JSON_BODIES)
async def test_a_body_that_is_no_json_is_an_error(client: HttpClient, name: str) -> None:
    body, said = JSON_BODIES[name]
    async with answering([CHUNKED + body]) as (_, url):
        with pytest.raises(HttpError, match=said):
            async with client.request("GET", url) as response:
                await response.read_json(9)


async def test_a_json_body_is_decoded(client: HttpClient) -> None:
    body = CHUNKED + b'8\r\n{"a": 1}\r\n0\r\n\r\n'
    async with answering([body]) as (_, url), client.request("GET", url) as response:
        assert await response.read_json() == {"a": 1}


async def test_a_redirect_is_not_followed(client: HttpClient) -> None:
    reply = b"HTTP/1.1 302 Found\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n"
    async with answering([reply, HELLO]) as (server, url):
        async with client.request("GET", url) as response:
            assert response.status == 302
        assert len(server.requests) == 1
