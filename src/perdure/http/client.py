"""The client: makes connections, keeps idle ones, and hands out one response at a time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import msgspec

from perdure.http.address import Address, RequestInvalid, Route, parse, route
from perdure.http.connection import ConnectFailed, Connection, Headers, ResponseBroken, Sink
from perdure.traceparent import UPSTREAM

JSON_BYTES_MAX = 16 * 1024 * 1024
DRAIN_S = 1.0
STALE_S = 1.0
OK = range(200, 300)


class Response:
    """A response whose head is here; iterate over it for its body as it arrives, once.

    Attributes:
        status: the HTTP status, e.g. 200.
        headers: by name, in any case.
        receive: call and await it for the next bytes of the body; b"" = the end.
        listen: call and await it to have the next bytes given to a function (see `Connection`).
        peek: call and await it for the first bytes, which are left to be read (see `Connection`).

    """

    def __init__(self, connection: Connection) -> None:
        self.status = connection.status
        self.headers: Headers = connection.headers
        self.finished = False
        self._connection = connection
        self.receive: Callable[[], Awaitable[bytes]] = connection.receive
        self.listen: Callable[[Sink], Awaitable[None]] = connection.listen
        self.peek: Callable[[], Awaitable[bytes]] = connection.peek

    def __aiter__(self) -> Response:
        return self

    async def __anext__(self) -> bytes:
        """Return the next bytes of the body; several reads in one where the caller is late."""
        data = await self.receive()
        if not data:
            raise StopAsyncIteration
        return data

    async def read(self, bytes_max: int) -> bytes:
        """Return the body, at most its first `bytes_max` bytes."""
        pieces, size = [], 0
        async for data in self:
            pieces.append(data)
            size += len(data)
            if size >= bytes_max:
                break
        return b"".join(pieces)[:bytes_max]

    async def read_json(self, bytes_max: int = JSON_BYTES_MAX) -> Any:
        """Return the body as a JSON value. Raises `ResponseBroken` if it is none, or larger."""
        body = await self.read(bytes_max + 1)
        if len(body) > bytes_max:
            raise ResponseBroken(f"{self._connection.name} sent more than {bytes_max} bytes.")
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ResponseBroken(f"{self._connection.name} did not answer in JSON.") from None

    def finish(self) -> None:
        """Say that the rest does not matter, so that the connection may be kept if it ends soon."""
        self.finished = True

    def detach(self) -> None:
        """Let go of the connection, which may serve the next request by now."""
        self.receive = self.listen = self.peek = self._gone

    async def _gone(self, *_: object) -> NoReturn:
        raise ResponseBroken(f"The response of {self._connection.name} was left before its end.")


Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a host and port that may be connected to, in order."""


class HttpClient:
    """A pool of connections; belongs to the event loop that first uses it.

    Args:
        connect_timeout_s: for the name, the connection, the proxy and TLS together.
        pool_size: idle connections kept per server.
        keep_alive_s: idle seconds after which a connection is not used again.
        ca_file: certificates to trust besides the system's (`SSL_CERT_FILE` works as well).
        resolve: looks a server's name up; what it returns is connected to, and nothing else. It may
            raise `ConnectFailed`. Not asked where a proxy is on the way: that looks names up.

    """

    def __init__(
        self,
        *,
        connect_timeout_s: float = 10.0,
        pool_size: int = 64,
        keep_alive_s: float = 15.0,
        ca_file: str | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._pool_size = pool_size
        self._keep_alive_s = keep_alive_s
        self._ca_file = ca_file
        self._resolve = resolve
        self._tls: ssl.SSLContext | None = None
        self._idle: dict[Route, list[Connection]] = {}
        self._routes: dict[Connection, Route] = {}
        self._ways: dict[tuple[str, str, int], Route] = {}

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> AsyncIterator[Response]:
        """Send a request; yield its response once the head is here.

        Leaving the block before the body's end closes the connection at once, which is how an
        answer is cancelled. Redirects are not followed. A request on a kept connection that
        turns out to be dead, before any byte came back, is sent once more on a new one.

        Raises `RequestInvalid`, `ConnectFailed` or `ResponseBroken`.
        """
        address = parse(url)
        way = self._ways.get(address[:3])
        if way is None:
            way = self._ways[address[:3]] = route(address)
        sent = _traced(headers or {})
        connection = await self._send(way, _message(method, address, way, sent, body))
        response = Response(connection)
        try:
            yield response
        finally:
            self._let_go(connection, response)

    @property
    def idle(self) -> int:
        """Return how many kept connections wait for a request."""
        return sum(map(len, self._idle.values()))

    async def close(self) -> None:
        """Close every connection, also those in use."""
        for connection in list(self._routes):
            connection.abort()
        await asyncio.sleep(0)  # sockets close in the loop's next turn

    async def _send(self, way: Route, message: bytes) -> Connection:
        connection = self._take(way)
        now = asyncio.get_running_loop().time
        if connection is not None:
            sent_at = now()
            try:
                await self._exchange(connection, message)
            except ResponseBroken:
                # One that lived on for a while was not stale: the server may have begun to work.
                if not connection.untouched or now() - sent_at > STALE_S:
                    raise
            else:
                return connection
        connection = await self._connect(way)
        await self._exchange(connection, message)
        return connection

    async def _exchange(self, connection: Connection, message: bytes) -> None:
        try:
            await connection.exchange(message)
        except BaseException:
            connection.abort()
            raise

    # The pool.

    def _take(self, way: Route) -> Connection | None:
        idle = self._idle.get(way)
        now = asyncio.get_running_loop().time()
        while idle:
            connection = idle.pop()
            if now - connection.idle_since < self._keep_alive_s:
                return connection
            connection.abort()
        return None

    def _let_go(self, connection: Connection, response: Response) -> None:
        response.detach()
        if connection.ended:
            self._keep(connection)
        elif response.finished and connection.error is None:
            connection.drain(self._keep)
            asyncio.get_running_loop().call_later(DRAIN_S, self._give_up, connection, response)
        else:
            connection.abort()

    def _keep(self, connection: Connection) -> None:
        way = self._routes.get(connection)
        idle = self._idle.setdefault(way, []) if way is not None else []
        if way is None or not connection.keep_alive or len(idle) >= self._pool_size:
            connection.abort()
            return
        connection.rest(asyncio.get_running_loop().time())
        idle.append(connection)

    def _give_up(self, connection: Connection, response: Response) -> None:
        """Close a connection whose body did not end soon; others may have it by now."""
        if connection.headers is response.headers and not connection.ended:
            connection.abort()

    def _lost(self, connection: Connection) -> None:
        way = self._routes.pop(connection, None)
        idle = self._idle.get(way, []) if way is not None else []
        if connection in idle:
            idle.remove(connection)
        if way is not None and not idle:
            self._idle.pop(way, None)

    # Making connections.

    async def _connect(self, way: Route) -> Connection:
        name = f"{way.host}:{way.port}"
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                return await self._open(way, name)
        except TimeoutError:
            reason = f"no answer within {self._connect_timeout_s:g} s"
        except ssl.SSLCertVerificationError as error:
            reason = f"its certificate is not trusted ({error.verify_message})"
        except ssl.SSLError as error:
            reason = f"TLS failed ({error.reason or 'no reason given'})"
        except ResponseBroken as error:
            reason = f"the proxy did not open a tunnel: {error.detail}"
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
        except UnicodeError:
            reason = "that is no host name"
        raise ConnectFailed(f"Cannot connect to {name}: {reason}.")

    async def _open(self, way: Route, name: str) -> Connection:
        hop = way.proxy or way
        hosts: Sequence[str] = [hop.host]
        if self._resolve is not None and way.proxy is None:
            hosts = await self._resolve(hop.host, hop.port)
        connection = await self._dial(hosts, hop, name)
        self._routes[connection] = way
        if way.proxy is not None and way.scheme == "https":
            await self._tunnel(connection, way, way.proxy)
        return connection

    async def _dial(self, hosts: Sequence[str], hop: Address | Route, name: str) -> Connection:
        """Connect to the first host that takes it; TLS asks for the name all the same."""
        tls = self._trust() if hop.scheme == "https" else None
        for host in hosts:
            try:
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(name, self._lost),
                    host,
                    hop.port,
                    ssl=tls,
                    server_hostname=hop.host if tls else None,
                )
            except OSError:
                if host == hosts[-1]:
                    raise
            else:
                return connection
        raise ConnectFailed(f"Cannot connect to {name}: it has no address.")

    async def _tunnel(self, connection: Connection, way: Route, proxy: Address) -> None:
        """Ask the proxy for the way to the server, then speak TLS with the server through it."""
        try:
            await connection.exchange(_connect_message(way, proxy))
            if connection.status not in OK:
                raise ResponseBroken(f"status {connection.status}")  # noqa: TRY301
            transport = await asyncio.get_running_loop().start_tls(
                connection.transport,
                connection,
                self._trust(),
                server_hostname=way.host,
            )
        except BaseException:
            connection.abort()
            raise
        if transport is None:
            raise ConnectionResetError("the tunnel closed")
        connection.connection_made(transport)

    def _trust(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            if self._ca_file is not None:
                self._tls.load_verify_locations(self._ca_file)
        return self._tls


def _traced(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Add the trace that calls belong to now, unless the headers name one."""
    named = UPSTREAM.get()
    return headers if named is None else {"traceparent": named, **headers}


def _message(
    method: str,
    address: Address,
    way: Route,
    headers: Mapping[str, str],
    body: bytes | None,
) -> bytes:
    """Return the request as it goes over the wire."""
    target, lines = address.path, {"host": address.authority, "accept-encoding": "identity"}
    if address.credentials:
        lines["authorization"] = f"Basic {address.credentials}"
    if way.proxy is not None and way.scheme == "http":
        target = f"http://{address.authority}{address.path}"
        if way.proxy.credentials:
            lines["proxy-authorization"] = f"Basic {way.proxy.credentials}"
    lines |= {name.lower(): value for name, value in headers.items()}
    if body is not None:
        lines["content-length"] = str(len(body))
    return _head(f"{method} {target}", lines) + (body or b"")


def _connect_message(way: Route, proxy: Address) -> bytes:
    server = Address(way.scheme, way.host, way.port)
    lines = {"host": server.endpoint}
    if proxy.credentials:
        lines["proxy-authorization"] = f"Basic {proxy.credentials}"
    return _head(f"CONNECT {server.endpoint}", lines)


def _head(start: str, lines: Mapping[str, str]) -> bytes:
    for name, value in lines.items():
        if not name.isascii() or any(character in f"{name}{value}" for character in "\r\n\0"):
            raise RequestInvalid("A header has a character that HTTP does not allow in it.")
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    try:
        return f"{start} HTTP/1.1\r\n{head}\r\n".encode("latin-1")
    except UnicodeEncodeError:
        raise RequestInvalid("A header has a character that HTTP does not allow in it.") from None
