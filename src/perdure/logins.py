"""Logins: a browser is sent to somebody who knows people, and comes back with a name."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import msgspec

from perdure.model import JSON


class Journey(msgspec.Struct, frozen=True):
    """One login under way; it travels in a cookie of the browser that began it.

    `next`: the path to show after it. `state`, `nonce`, `verifier`: what the answer has to fit.
    """

    state: str
    nonce: str
    verifier: str
    next: str
    redirect_uri: str


class Arrival(NamedTuple):
    """Who came back: what is said of the person, and the ID token for signing out there."""

    claims: JSON
    id_token: str


class Provider(Protocol):
    """Knows people and signs them in."""

    async def depart(self, next_: str, redirect_uri: str) -> tuple[str, Journey]:
        """Return where to send the browser, and the journey that it has to carry."""

    async def arrive(self, journey: Journey, query: str) -> Arrival:
        """Return whom the provider's answer names.

        Args:
            journey: as `depart` made it.
            query: of the address that the provider sent the browser to.

        Raises:
            Invalid: the provider refused, or its answer does not belong to this journey.
            Unavailable: it cannot be reached.

        """

    async def farewell(self, id_token: str, back_to: str) -> str | None:
        """Return where the browser signs out of the provider as well; None: it offers no such."""
