"""Credentials: what lets a program (a token) or a browser (a session) in, and where they are kept.

The secret is known to its bearer alone; what is kept is its SHA-256. A secret has 256 random bits,
so nothing that guesses could be slowed down by a slower hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from typing import Literal, Protocol, get_args

import msgspec

from perdure.model import JSON, new_id

Kind = Literal["token", "session"]
Scope = Literal["read", "write", "admin"]

SCOPES: tuple[Scope, ...] = get_args(Scope)
IDS: dict[Kind, Literal["tok", "ses"]] = {"token": "tok", "session": "ses"}
SHAPE = re.compile(r"perdure_((?:tok|ses)_[0-9a-f]{24,32})_[A-Za-z0-9_-]{43}")
"""A bearer's secret: easy to find for scanners that look for leaked ones. Ids of 24 digits are
those from before they grew with time."""
SECRET_BYTES = 32


class Credential(msgspec.Struct, kw_only=True, frozen=True):
    """A right to act as `user_id`, within `scopes`, for who knows the secret behind `digest`.

    `name`: what its maker called a token; whom to show of a session. `expires_at` None = never.
    `details`: what belongs to the kind (how the session began, its secret before the last change).
    """

    id: str
    kind: Kind
    user_id: str
    name: str
    scopes: list[Scope]
    digest: str
    created_at: float
    expires_at: float | None = None
    used_at: float | None = None
    details: JSON = {}

    def valid(self, now: float) -> bool:
        """Tell whether its time is not over."""
        return self.expires_at is None or now < self.expires_at

    def matches(self, secret: str) -> bool:
        """Tell whether `secret` is the one in force."""
        return hmac.compare_digest(self.digest, digest_of(secret))


class Credentials(Protocol):
    """The part of a store that keeps credentials. Each method is one transaction."""

    async def add_credential(self, credential: Credential) -> None:
        """Keep a new one."""

    async def credential(self, credential_id: str) -> Credential | None:
        """Return one, also when its time is over; None when there is none."""

    async def credentials(self, kind: Kind, user_id: str | None = None) -> list[Credential]:
        """Return those of a kind, oldest first; `user_id` None = everyone's."""

    async def change_credential(self, credential: Credential, digest: str) -> bool:
        """Replace one if its digest is still `digest`; False when it is not, or was dropped."""

    async def drop_credential(self, credential_id: str) -> bool:
        """Forget one for good; False when there was none."""


def new(
    kind: Kind,
    user_id: str,
    name: str,
    scopes: list[Scope],
    lasts_s: float | None = None,
    details: JSON | None = None,
) -> tuple[Credential, str]:
    """Return a credential to keep, and its secret to hand over: nobody can find it again."""
    credential_id = new_id(IDS[kind])
    secret, now = new_secret(credential_id), time.time()
    made = Credential(
        id=credential_id,
        kind=kind,
        user_id=user_id,
        name=name,
        scopes=scopes,
        digest=digest_of(secret),
        created_at=now,
        expires_at=None if lasts_s is None else now + lasts_s,
        details=details or {},
    )
    return made, secret


def new_secret(credential_id: str) -> str:
    """Return a fresh secret for a credential; its id stands in it, so that it can be looked up."""
    return f"perdure_{credential_id}_{secrets.token_urlsafe(SECRET_BYTES)}"


def id_in(secret: str) -> str | None:
    """Return the id of the credential that `secret` claims to open; None: it is no secret."""
    found = SHAPE.fullmatch(secret)
    return found[1] if found else None


def digest_of(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
