"""Who is asking. Every route depends on it; owner checks compare its `user_id`.

`none`: everyone is the same local person. `proxy`: the names that a trusted proxy forwards.
`token`, `oidc`: who shows a token, or a session's cookie that a token or a login began.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache

import msgspec
from starlette.requests import HTTPConnection

from perdure.core import Core
from perdure.credentials import Credential
from perdure.errors import Invalid, Unavailable
from perdure.routers import cookies, turnstile
from perdure.settings import Auth

USER_CHARACTERS_MAX = 256
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOOK_AGAIN_S = 15
"""How soon an open stream or socket notices that its credential was revoked."""
WATCH = "perdure.watch"
"""Where in a call's scope stands what ends when its credential does."""
BEARER = "bearer "


class Person(msgspec.Struct, frozen=True):
    """The caller: the id that owns things, a name to show, and what it may do.

    `admin`: it looks after everyone's. `writes`: it may change things, not only look.
    """

    user_id: str
    display: str
    admin: bool = False
    writes: bool = True


LOCAL = Person("local", "You", admin=True)


async def person_of(connection: HTTPConnection) -> Person:
    """Return who makes this call or opens this socket.

    Raises `Invalid` (401 when unknown, 403 when a token may only read) and `TooMany`.
    """
    auth: Auth = connection.app.state.core.settings.auth
    person = await MODES[auth.mode](connection, auth)
    turnstile.enter(connection, person.user_id)
    await turnstile.count(connection, person.user_id)
    if not person.writes and connection.scope.get("method", "GET") not in SAFE_METHODS:
        raise Invalid("This token may only read.", code="scope_missing", status=403)
    return person


async def asker_of(connection: HTTPConnection) -> Person:
    """Return who asks a question with this call, counted as such as well."""
    person = await person_of(connection)
    await turnstile.count(connection, person.user_id, "questions")
    return person


async def admin_of(connection: HTTPConnection) -> Person:
    """Return who makes this call, if that is an admin; raises `Invalid` (403) for anybody else."""
    person = await person_of(connection)
    if not person.admin:
        raise Invalid("Only admins may do this.", code="admin_only", status=403)
    return person


async def _everyone(connection: HTTPConnection, auth: Auth) -> Person:
    del connection, auth
    return LOCAL


async def _forwarded(connection: HTTPConnection, auth: Auth) -> Person:
    """Believe the forwarded names only when the peer itself is a trusted proxy."""
    peer = connection.client.host if connection.client else ""
    if not trusted(peer, auth.trusted_proxies):
        raise Invalid(
            "Calls must come through the proxy that signs people in.",
            code="untrusted_proxy",
            status=401,
        )
    headers = connection.headers
    email = _name(headers.get("x-forwarded-email"))
    user_id = _name(headers.get("x-forwarded-user")) or email
    if not user_id:
        raise Invalid("Nobody is signed in.", code="unauthenticated", status=401)
    shown = _name(headers.get("x-forwarded-preferred-username")) or email or user_id
    groups = headers.get("x-forwarded-groups", "").split(",")
    return Person(user_id, shown, admin=is_admin(auth, (user_id, email), groups))


async def _by_credential(connection: HTTPConnection, auth: Auth) -> Person:
    """Believe a bearer's token; without one, the session's cookie."""
    del auth
    core: Core = connection.app.state.core
    header = connection.headers.get("authorization", "")
    if header:
        token = header[len(BEARER) :].strip() if header.lower().startswith(BEARER) else ""
        opened = await core.keyring.open(token, "token")
        if opened is None:
            raise Invalid("This token is not known here.", code="invalid_token", status=401)
        return _bearer(connection, opened.credential)
    secret = cookies.secret_in(connection)
    if secret is None:
        raise Invalid("Nobody is signed in.", code="unauthenticated", status=401)
    renew = connection.scope["type"] == "http"
    opened = await core.keyring.open(secret, "session", renew=renew)
    if opened is None:
        raise Invalid("The session is over. Sign in again.", code="session_over", status=401)
    if opened.secret is not None:
        until = opened.credential.expires_at or time.time()
        cookies.put(connection, opened.secret, until - time.time())
    return _bearer(connection, opened.credential)


def _bearer(connection: HTTPConnection, credential: Credential) -> Person:
    core: Core = connection.app.state.core
    connection.scope[WATCH] = lambda: _over(core, credential)
    shown = credential.user_id if credential.kind == "token" else credential.name
    scopes = credential.scopes
    return Person(credential.user_id, shown, admin="admin" in scopes, writes="write" in scopes)


async def _over(core: Core, credential: Credential) -> None:
    """Return once a credential opens nothing any more."""
    stands = True
    while stands:
        await asyncio.sleep(LOOK_AGAIN_S)
        with suppress(Unavailable):
            stands = await core.keyring.stands(credential.id)


def is_admin(auth: Auth, names: Sequence[str], groups: Sequence[str]) -> bool:
    """Tell whether somebody with these names and groups is an admin."""
    in_group = {group.strip() for group in groups} & set(auth.admin_groups)
    return bool(in_group) or bool({name for name in names if name} & set(auth.admins))


def _name(value: str | None) -> str:
    """Return a forwarded name, or "" when it is absent or no name at all."""
    name = (value or "").strip()
    return name if len(name) <= USER_CHARACTERS_MAX and name.isprintable() else ""


def trusted(peer: str, proxies: Sequence[str]) -> bool:
    """Tell whether the address `peer` is one of `proxies` (addresses or networks)."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in _networks(tuple(proxies)))


@lru_cache(maxsize=8)
def _networks(
    proxies: tuple[str, ...],
) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(proxy, strict=False) for proxy in proxies)


MODES: Mapping[str, Callable[[HTTPConnection, Auth], Awaitable[Person]]] = {
    "none": _everyone,
    "proxy": _forwarded,
    "token": _by_credential,
    "oidc": _by_credential,
}
"""How each `auth.mode` finds the person."""
