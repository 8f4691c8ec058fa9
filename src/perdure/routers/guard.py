"""One pure ASGI middleware around everything: what must hold before a route is even chosen.

It refuses foreign hosts and origins and bodies over the limit, gives each call an id, adds the
security headers, and turns a broken call into one log entry and a 500 that tells nothing.
It touches a stream's chunks only with one comparison each.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perdure.core import Core
from perdure.errors import Invalid, PerdureError, Refused, Unavailable
from perdure.logs import CALL, REQUEST
from perdure.routers import cookies, dialects, heads, problems, turnstile
from perdure.routers.arriving import arriving, too_large
from perdure.routers.cookies import hostname
from perdure.routers.given import placed
from perdure.routers.identity import SAFE_METHODS
from perdure.settings import Auth, Settings
from perdure.traceparent import CALLER, valid

log = logging.getLogger("perdure.http")

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked by machines under whatever host name they know; they tell no secrets."""

POLICY = (
    b"default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    b"form-action 'self'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Guard:
    """The outermost layer of the app; settings come from `app.state.core` of each call's app."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then pass on."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope, send = heads.asked_as_get(scope, send)
        core: Core = scope["app"].state.core
        settings, unopened = core.settings, await _unopened(core)
        scope["root_path"] = scope.get("root_path") or settings.root_path
        if found := re.search(r"/(resp_[A-Za-z0-9]{1,64})(/|$)", scope["path"]):
            REQUEST.set(found.group(1))
        CALLER.set(valid(Headers(scope=scope).get("traceparent")))
        refusal = unopened or _refusal(scope, Headers(scope=scope), settings)
        if scope["type"] == "websocket":
            await self._socket(refusal, scope, receive, send)
        else:
            await self._call(refusal, scope, arriving(scope, receive, settings), send)

    async def _socket(
        self, refusal: PerdureError | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if refusal is None:
            try:
                await self.app(scope, receive, send)
            finally:
                turnstile.leave(scope)
        elif "websocket.http.response" in scope.get("extensions", {}):
            path = dialects.place_of(HTTPConnection(scope))
            await problems.response(refusal, path=path)(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _call(
        self, refusal: PerdureError | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        call_id = _call_id(Headers(scope=scope))
        CALL.set(call_id)
        started = False

        async def adorned(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = _adorn(list(message.get("headers", ())), call_id)
                message["headers"] += _told(scope, message["status"])
                _count(scope, message["status"])
            await send(message)

        try:
            answer = self._answer(refusal, scope)
            await answer(scope, receive, adorned)
        except ClientDisconnect:
            log.debug("%s %s: left in mid-question", scope["method"], scope["path"])
        except Exception:
            log.exception("%s %s broke", scope["method"], scope["path"])
            if not started:
                await problems.internal(dialects.place_of(HTTPConnection(scope)))(
                    scope, receive, adorned
                )
        finally:
            turnstile.leave(scope)

    def _answer(self, refusal: PerdureError | None, scope: Scope) -> ASGIApp:
        if refusal is not None:
            return problems.response(refusal, path=dialects.place_of(HTTPConnection(scope)))
        if scope["path"] == scope["root_path"]:  # "/chat", of which the page is "/chat/"
            return RedirectResponse(placed(HTTPConnection(scope), "/"))
        return self.app


async def _unopened(core: Core) -> PerdureError | None:
    """Open the core if nobody did: the lifespan of an app that is mounted runs by nobody's hand."""
    if core.opened:
        return None
    log.warning("opened by its first call: run its lifespan too, or no shutdown is in order")
    try:
        await core.open()
    except PerdureError as error:
        return Unavailable(error.detail, code="unavailable")
    return None


def _call_id(headers: Mapping[str, str]) -> str:
    """Return the caller's id of this call, or a fresh one."""
    given = headers.get("x-request-id", "")
    return given if re.fullmatch(r"[\w.:-]{1,128}", given, re.ASCII) else secrets.token_hex(8)


def _count(scope: Scope, status: int) -> None:
    """Count a call under its route's template: an address as it came could be anything."""
    route = getattr(scope.get("route"), "path", "none")
    metrics = scope["app"].state.core.metrics
    metrics.calls.labels(scope["method"], route, str(status)).inc()


def _adorn(headers: list[tuple[bytes, bytes]], call_id: str) -> list[tuple[bytes, bytes]]:
    own = {name for name, _ in headers}
    headers += [(name, value) for name, value in HEADERS if name not in own]
    headers.append((b"x-request-id", call_id.encode()))
    return headers


def _told(scope: Scope, status: int) -> list[tuple[bytes, bytes]]:
    """Return the headers that this very call brought about."""
    told = turnstile.headers(scope)
    if cookies.OUT in scope:
        told.append((b"set-cookie", scope[cookies.OUT]))
    if status == HTTPStatus.UNAUTHORIZED:
        told.append((b"www-authenticate", b"Bearer"))
    return told


def _refusal(scope: Scope, headers: Headers, settings: Settings) -> Refused | None:
    """Return why this call may not go on, if so."""
    if len(headers.getlist("host")) > 1:
        # What is before us may have looked at the other one. Source: RFC 9112, 3.2.
        return Invalid("A call names one host.", code="host_forbidden", status=400)
    host = headers.get("host", "")
    if dialects.path_of(scope) not in PROBES and not host_allowed(host, settings.auth):
        detail = (
            f"This server does not answer as {host[:100]!r}; see the setting auth.allowed_hosts."
        )
        return Invalid(detail, code="host_forbidden", status=421)
    changes = scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS
    if changes and not origin_allowed(headers):
        return Invalid(
            "Pages of another site may not act here.", code="origin_forbidden", status=403
        )
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > settings.limits.body_bytes_max:
        return Invalid(too_large(settings), code="body_too_large", status=413)
    return None


def host_allowed(host: str, auth: Auth) -> bool:
    """Tell whether browsers may know this server as `host`: the guard against DNS rebinding.

    A name that anyone may let point here is refused where no login protects; an address cannot be
    rebound. Calls without the header are no browser's.
    """
    name = hostname(host)
    if not name or name == "localhost" or name.endswith(".localhost") or _is_address(name):
        return True
    if auth.allowed_hosts or auth.mode == "none":
        return name in [allowed.lower() for allowed in auth.allowed_hosts]
    return True


def origin_allowed(headers: Mapping[str, str]) -> bool:
    """Tell whether a call that changes something comes from our own pages, or from no page.

    Browsers send `Origin` with every such call and no page can forge it, `Sec-Fetch-Site` or
    (without a preflight, which is never granted) `X-Forwarded-Host`.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is None:
        return site not in ("cross-site", "same-site")
    if site == "same-origin":
        return True
    forwarded = headers.get("x-forwarded-host", "").split(",")[0].strip()
    try:
        authority = urlsplit(origin).netloc.lower()
    except ValueError:
        return False
    return bool(authority) and authority in {headers.get("host", "").lower(), forwarded.lower()}


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
