"""Who is asking. Every route depends on it; owner checks compare its `user_id`.

`none`: everyone is the same local person. `proxy`: the names that a trusted proxy forwards.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache

import msgspec
from starlette.requests import HTTPConnection

from perdure.errors import Invalid
from perdure.settings import Auth

USER_CHARACTERS_MAX = 256


class Person(msgspec.Struct, frozen=True):
    """The caller: the id that owns things, a name to show, whether it looks after everyone's."""

    user_id: str
    display: str
    admin: bool = False


LOCAL = Person("local", "You", admin=True)


async def person_of(connection: HTTPConnection) -> Person:
    """Return who makes this call or opens this socket; raises `Invalid` (401) when unknown."""
    auth: Auth = connection.app.state.core.settings.auth
    return await MODES[auth.mode](connection, auth)


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
}
"""How each `auth.mode` finds the person."""
