"""People's own tokens for the agents' servers: in the memory of one process, as long as needed.

Given by a trusted proxy with the question; gone when the request ends, and with the process. They
are never stored, logged or queued: whoever else takes such a request over ends it with the reason
`auth_required`, and the person may retry.
"""

from __future__ import annotations

import resource
import time
from typing import NoReturn, Protocol, runtime_checkable

KEPT_S = 3600.0
"""Such a token is valid for an hour at most; one that waited so long is useless."""
AUTH_REQUIRED = "auth_required"


class UserToken:
    """A secret that shows itself to nobody by accident: not printed, pickled or encoded."""

    __slots__ = ("_secret",)

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def reveal(self) -> str:
        """Return the secret, for the one header that it belongs into."""
        return self._secret

    def __repr__(self) -> str:
        return "UserToken(…)"

    def __reduce__(self) -> NoReturn:
        message = "a person's token leaves no process"
        raise TypeError(message)


@runtime_checkable
class OnBehalf(Protocol):
    """A handler that may ask its server with the person's own token."""

    acts_for_people: bool


def acts(handler: object) -> bool:
    """Tell whether a handler may want the tokens of people."""
    return isinstance(handler, OnBehalf) and handler.acts_for_people


def forbid_core_dumps() -> None:
    """Let no crash of this process write its memory, and people's tokens, to a disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


class UserTokens:
    """The tokens of the requests that wait or run in this process."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, UserToken]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, request_id: str, token: UserToken) -> None:
        """Hold a token for a request; those that are too old go."""
        now = time.monotonic()
        for old in [one for one, (at, _) in self._kept.items() if now - at > KEPT_S]:
            del self._kept[old]
        self._kept[request_id] = (now, token)

    def of(self, request_id: str) -> UserToken | None:
        """Return the token that came with a request, if it is still here."""
        kept = self._kept.get(request_id)
        return kept[1] if kept is not None and time.monotonic() - kept[0] <= KEPT_S else None

    def drop(self, request_id: str) -> None:
        """Forget a request's token."""
        self._kept.pop(request_id, None)
