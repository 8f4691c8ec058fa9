"""The session's cookie: no script reads it, no other site sends it, no other host gets it."""

from __future__ import annotations

import ipaddress
from http.cookies import SimpleCookie

from starlette.requests import HTTPConnection

NAME = "perdure_session"
SECURE_NAME = f"__Host-{NAME}"
"""Browsers take a cookie of this name only from this very host, over TLS."""
OUT = "perdure.cookie"
"""Where in a call's scope a cookie waits for the guard to send it along."""


def hostname(host: str) -> str:
    """Return a Host header's name in lower case, without port and brackets."""
    if host.startswith("["):
        return host[1:].split("]", 1)[0].lower()
    return host.rsplit(":", 1)[0].rstrip(".").lower()


def is_loopback(host: str) -> bool:
    """Tell whether a Host header means this very machine, where there is no TLS."""
    name = hostname(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def origin_of(connection: HTTPConnection) -> str:
    """Return the scheme and host by which browsers know this server: TLS everywhere but here."""
    host = connection.headers.get("host", "localhost")
    return f"{'http' if is_loopback(host) else 'https'}://{host}"


def name_for(connection: HTTPConnection) -> str:
    """Return what the session's cookie is called on this connection."""
    return NAME if is_loopback(connection.headers.get("host", "")) else SECURE_NAME


def secret_in(connection: HTTPConnection) -> str | None:
    """Return the secret in the session's cookie."""
    return connection.cookies.get(name_for(connection))


def put(connection: HTTPConnection, secret: str, lasts_s: float) -> None:
    """Let the answer to this call set the session's cookie."""
    connection.scope[OUT] = made(connection, name_for(connection), secret, lasts_s)


def drop(connection: HTTPConnection) -> None:
    """Let the answer to this call remove the session's cookie."""
    put(connection, "", 0)


def made(
    connection: HTTPConnection, name: str, value: str, lasts_s: float, path: str = "/"
) -> bytes:
    """Return a `Set-Cookie` header's value."""
    cookie: SimpleCookie = SimpleCookie({name: value})
    morsel = cookie[name]
    morsel["path"], morsel["max-age"] = path, int(lasts_s)
    morsel["httponly"], morsel["samesite"] = True, "Lax"
    if not is_loopback(connection.headers.get("host", "")):
        morsel["secure"] = True
    return morsel.OutputString().encode()
