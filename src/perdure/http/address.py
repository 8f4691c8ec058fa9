"""Where a request goes: the parts of its URL, and the proxy that the environment names for it."""

from __future__ import annotations

import base64
import ipaddress
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from perdure.errors import PerdureError

PORTS = {"http": 80, "https": 443}
UNRESERVED = "!#$%&'()*+,/:;=?@[]~"


class HttpError(PerdureError):
    """Base of what can go wrong between us and a server."""

    code = "http_error"


class RequestInvalid(HttpError):
    """The address, a header or the method cannot be put into a request."""

    code = "request_invalid"


class Address(NamedTuple):
    """The parts of an http(s) URL; `path` is never empty and carries the query."""

    scheme: str
    host: str
    port: int
    path: str = "/"
    credentials: str = ""

    @property
    def authority(self) -> str:
        """Return the `Host` header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def endpoint(self) -> str:
        """Return `host:port`, as a CONNECT request names it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Route(NamedTuple):
    """The ends of a connection, and so the key of its pool: the server, and a proxy on the way."""

    scheme: str
    host: str
    port: int
    proxy: Address | None = None


def parse(url: str) -> Address:
    """Split an http(s) URL. Raises `RequestInvalid`; the text never shows a password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        if parts.scheme not in PORTS or not host:
            raise ValueError  # noqa: TRY301 - one sentence for every bad address
        host = host if host.isascii() else host.encode("idna").decode()
        path = quote(parts.path or "/", safe=UNRESERVED)
    except ValueError:
        raise RequestInvalid("The address is not an http:// or https:// URL.") from None
    if parts.query:
        path += "?" + quote(parts.query, safe=UNRESERVED)
    name = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    credentials = base64.b64encode(name.encode()).decode() if parts.username else ""
    return Address(parts.scheme, host, port or PORTS[parts.scheme], path, credentials)


def below(base_url: str, path: str) -> str:
    """Return the URL of `path` below a base, which may name it already and may end in a query."""
    base, mark, query = base_url.partition("?")
    return base.rstrip("/").removesuffix(path) + path + mark + query


def route(address: Address) -> Route:
    """Return how to reach it: straight, or through `HTTP_PROXY` / `HTTPS_PROXY` minus `NO_PROXY`.

    Loopback addresses are always reached straight.
    """
    url = getproxies().get(address.scheme)
    if not url or _loopback(address.host) or proxy_bypass(address.endpoint):
        return Route(*address[:3])
    proxy = parse(url if "://" in url else f"http://{url}")
    return Route(*address[:3], proxy)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
