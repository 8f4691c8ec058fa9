"""`tokens`: on the database itself, or through a running server that has it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from perdure import keyring
from perdure.cli.exits import ExitCode
from perdure.cli.remote import Remote
from perdure.cli.upkeep import must_exist
from perdure.credentials import SCOPES, Credential, Scope
from perdure.errors import Invalid, Unavailable
from perdure.model import JSON
from perdure.ports import Store
from perdure.settings import Settings, load
from perdure.steering import harmless

T = TypeVar("T")
DAY_S = 86_400
IN_USE = " Or name the server that has it: --url URL, with a token of yours in PERDURE_TOKEN."


class Place(msgspec.Struct, frozen=True):
    """Where tokens are: a server at `url`, else the store of the settings."""

    url: str | None
    config: Path | None
    data_dir: Path | None


def create(place: Place, user: str, name: str, scopes: Sequence[str], days: float | None) -> int:
    """Make a token and print its secret alone, for scripts to take."""
    given = _scopes(scopes)
    if place.url:
        body = {"user_id": user, "name": name, "scopes": given, "days": days}
        secret = _call(place.url, "POST", "/api/tokens", body)["secret"]
    else:
        lasts_s = None if days is None else days * DAY_S
        _, secret = _on_store(
            place, lambda store: keyring.make_token(store, user, name, given, lasts_s)
        )
    print(secret)
    return ExitCode.OK


def show(place: Place, user: str | None, *, as_json: bool) -> int:
    """List tokens: whose, what for, how far they reach, when they were used."""
    if place.url:
        path = "/api/tokens" if user is None else f"/api/tokens?user={quote(user)}"
        found = _call(place.url, "GET", path)["tokens"]
    else:
        kept = _on_made(place, lambda store: store.credentials("token", user or None))
        found = [_shown(token) for token in kept]
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
        return ExitCode.OK
    for token in found:
        used = token["used_at"] or "never used"
        until = token["expires_at"] or "no end"
        words = (token["id"], token["user_id"], token["name"], ",".join(token["scopes"]))
        print(harmless("  ".join((*words, str(used), str(until)))))
    return ExitCode.OK


def revoke(place: Place, token_id: str) -> int:
    """Revoke a token: what shows it is refused from now on."""
    if place.url:
        _call(place.url, "DELETE", f"/api/tokens/{quote(token_id)}")
    else:
        _on_made(place, lambda store: keyring.revoke_token(store, token_id))
    print(f"Revoked {token_id}.")
    return ExitCode.OK


def _scopes(given: Sequence[str]) -> list[Scope]:
    found = [scope for scope in SCOPES if scope in given]
    if len(found) != len(set(given)):
        raise Invalid(f"A scope is one of {', '.join(SCOPES)}.")
    return found or ["read", "write"]


def _call(url: str, method: str, path: str, body: JSON | None = None) -> Any:
    async def run() -> Any:
        async with Remote(url) as remote:
            return await remote.call(method, path, body)

    return asyncio.run(run())


def _on_made(place: Place, work: Callable[[Store], Awaitable[T]]) -> T:
    """Work on a database that is there: in the wrong folder an empty list would mislead."""
    must_exist(_settings(place))
    return _on_store(place, work)


def _settings(place: Place) -> Settings:
    return load(place.config, {} if place.data_dir is None else {"data_dir": place.data_dir})


def _on_store(place: Place, work: Callable[[Store], Awaitable[T]]) -> T:
    from perdure import adapters  # noqa: PLC0415  # all adapters, only here

    settings = _settings(place)

    async def run() -> T:
        store = adapters.store_of(settings)
        await store.open()
        try:
            return await work(store)
        finally:
            await store.close()

    try:
        return asyncio.run(run())
    except Unavailable as error:
        if error.code == "database_locked":
            raise Unavailable(error.detail + IN_USE, code=error.code) from None
        raise


def _shown(token: Credential) -> JSON:
    """Return a token as the server shows it, times as unix seconds."""
    kept: JSON = msgspec.to_builtins(token)
    names = ("id", "user_id", "name", "scopes", "created_at", "expires_at", "used_at")
    return {name: kept[name] for name in names}
