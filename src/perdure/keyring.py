"""The keyring: who knows a secret, and for how long it opens; sessions begun, renewed and ended.

A session gets a fresh secret now and then. The old one stays good until the browser has shown that
it has the new one, so that a lost answer signs nobody out.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from perdure import credentials
from perdure.credentials import Credential, Kind, Scope
from perdure.errors import Invalid, NotFound
from perdure.model import JSON
from perdure.ports import Store
from perdure.settings import Auth

USED_EVERY_S = 60
"""How exact the time of a credential's last use is."""
RENEW_S = 900
"""Age at which a session gets a fresh secret."""
GRACE_S = 60
"""How long calls under way may still show the secret before the last."""
HOUR_S = 3600
DAY_S = 86_400


class Opened(NamedTuple):
    """A credential that a secret opened, and the secret to use from now on, if that changed."""

    credential: Credential
    secret: str | None = None


class Keyring:
    """All credentials of a deployment.

    Args:
        store: where they are kept.
        auth: how long sessions last.

    """

    def __init__(self, store: Store, auth: Auth) -> None:
        self._store = store
        self._mode = auth.mode
        self._idle_s = auth.session_idle_hours * HOUR_S
        self._max_s = auth.session_max_days * DAY_S

    async def open(self, secret: str, kind: Kind, *, renew: bool = False) -> Opened | None:
        """Return what `secret` opens, None if nothing; with `renew` it may get a fresh secret."""
        credential_id, now = credentials.id_in(secret), time.time()
        found = await self._store.credential(credential_id) if credential_id else None
        if found is None or found.kind != kind or not found.valid(now):
            return None
        if kind == "session":
            return await self._open_session(found, secret, now, renew=renew)
        if not found.matches(secret):
            return None
        return Opened(await self._used(found, now))

    async def stands(self, credential_id: str) -> bool:
        """Tell whether a credential that was opened still opens."""
        found = await self._store.credential(credential_id)
        return found is not None and found.valid(time.time()) and await self._rests(found)

    async def begin(
        self, user_id: str, name: str, scopes: Sequence[Scope], details: JSON
    ) -> tuple[Credential, str]:
        """Begin a session; return it and its secret."""
        details = {"mode": self._mode, "renewed_at": time.time(), **details}
        lasts_s = min(self._idle_s, self._max_s)
        made, secret = credentials.new("session", user_id, name, [*scopes], lasts_s, details)
        await self._store.add_credential(made)
        return made, secret

    async def end(self, secret: str) -> Credential | None:
        """End the session of a secret; return what it was, None if there was none."""
        opened = await self.open(secret, "session")
        if opened is None:
            return None
        await self._store.drop_credential(opened.credential.id)
        return opened.credential

    async def _open_session(
        self, session: Credential, secret: str, now: float, *, renew: bool
    ) -> Opened | None:
        current = session.matches(secret)
        if not (current or _was(session, secret, now)) or not await self._rests(session):
            return None
        details = session.details
        if current and "previous" in details and "previous_until" not in details:
            details = {**details, "previous_until": now + GRACE_S}
        if renew and now - details["renewed_at"] > (RENEW_S if current else GRACE_S):
            return await self._renewed(session, secret, now)
        changed = msgspec.structs.replace(session, details=details)
        return Opened(await self._used(changed, now, noted=details is not session.details))

    async def _renewed(self, session: Credential, secret: str, now: float) -> Opened:
        """Give a session a fresh secret; the one just shown stays good until that is seen."""
        fresh = credentials.new_secret(session.id)
        kept = {k: v for k, v in session.details.items() if k != "previous_until"}
        changed = msgspec.structs.replace(
            session,
            digest=credentials.digest_of(fresh),
            used_at=now,
            expires_at=self._until(session, now),
            details=kept | {"renewed_at": now, "previous": credentials.digest_of(secret)},
        )
        won = await self._store.change_credential(changed, session.digest)
        return Opened(changed, fresh) if won else Opened(session)

    async def _used(self, found: Credential, now: float, *, noted: bool = False) -> Credential:
        """Note that a credential was used, once a minute or when there is more to note."""
        if not noted and found.used_at is not None and now - found.used_at < USED_EVERY_S:
            return found
        until = self._until(found, now) if found.kind == "session" else found.expires_at
        changed = msgspec.structs.replace(found, used_at=now, expires_at=until)
        await self._store.change_credential(changed, found.digest)
        return changed

    def _until(self, session: Credential, now: float) -> float:
        return min(session.created_at + self._max_s, now + self._idle_s)

    async def _rests(self, found: Credential) -> bool:
        """Tell whether what a session rests on is there: the mode, and the token it began with."""
        if found.kind == "token":
            return True
        token_id = found.details.get("token_id")
        if found.details["mode"] != self._mode:
            return False
        token = await self._store.credential(token_id) if token_id else None
        return not token_id or (token is not None and token.valid(time.time()))


async def make_token(
    store: Store, user_id: str, name: str, scopes: Sequence[Scope], lasts_s: float | None
) -> tuple[Credential, str]:
    """Keep a new token; return it and its secret, which nobody can find again."""
    if not (user_id.strip() and name.strip()):
        detail = "A token needs a name, and somebody whom it stands for."
        raise Invalid(detail, code="invalid_request", status=422)
    made, secret = credentials.new("token", user_id, name, [*scopes], lasts_s)
    await store.add_credential(made)
    return made, secret


async def revoke_token(store: Store, token_id: str) -> None:
    """Forget a token: it and the sessions begun with it open nothing from now on."""
    found = await store.credential(token_id)
    if found is None or found.kind != "token":
        raise unknown(token_id)
    await store.drop_credential(token_id)


def unknown(token_id: str) -> NotFound:
    """Return what is told of a token that is not there, or not the caller's."""
    return NotFound(f"There is no token {token_id}.", code="token_not_found")


def _was(session: Credential, secret: str, now: float) -> bool:
    """Tell whether `secret` is the one before the last change, and that is still good."""
    details = session.details
    known = details.get("previous") == credentials.digest_of(secret)
    return known and now < details.get("previous_until", now + 1)
