"""How often and how much at once: each call of a person is counted when it comes and when it goes.

Not in mode `none`: where there is one person, nobody has to be kept from another.
"""

from __future__ import annotations

from collections import Counter

from starlette.requests import HTTPConnection
from starlette.types import Scope

from perdure.core import Core
from perdure.errors import TooMany
from perdure.rates import Rates, Sort, Standing

STANDING, LEAVE = "perdure.standing", "perdure.leave"
"""Where in a call's scope stand the rate to tell of, and who has to be counted out."""
OPEN_AGAIN_S = 2


async def count(connection: HTTPConnection, user_id: str, sort: Sort = "calls") -> None:
    """Count a call; raises `TooMany` (`too_many_calls`, `too_many_questions`)."""
    rates: Rates | None = connection.app.state.rates
    standing = await rates.hit(sort, user_id) if rates is not None else None
    if standing is None:
        return
    connection.scope[STANDING] = standing
    if not standing.good:
        detail = (
            f"More than {standing.limit} {sort} within a minute; try again in {standing.reset_s} s."
        )
        raise TooMany(detail, code=f"too_many_{sort}", retry_after_s=standing.reset_s)


def enter(connection: HTTPConnection, user_id: str) -> None:
    """Let a call, stream or socket in; raises `TooMany` (`too_many_open`)."""
    if connection.app.state.rates is None or LEAVE in connection.scope:
        return
    core: Core = connection.app.state.core
    most, open_ = core.settings.limits.open_per_user_max, _open(connection.app)
    if open_[user_id] >= most:
        detail = f"More than {most} calls, streams and sockets are open at once; close some."
        raise TooMany(detail, code="too_many_open", retry_after_s=OPEN_AGAIN_S)
    open_[user_id] += 1
    connection.scope[LEAVE] = user_id


def leave(scope: Scope) -> None:
    """Count a call out, however it ended."""
    user_id = scope.pop(LEAVE, None)
    if user_id is None:
        return
    open_ = _open(scope["app"])
    open_[user_id] -= 1
    if not open_[user_id]:
        del open_[user_id]


def headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Return what tells a caller how much of its rate is left."""
    standing: Standing | None = scope.get(STANDING)
    if standing is None:
        return []
    told = {"limit": standing.limit, "remaining": standing.remaining, "reset": standing.reset_s}
    return [(f"ratelimit-{name}".encode(), str(value).encode()) for name, value in told.items()]


def _open(app: object) -> Counter[str]:
    """Return how much each person has open in this process."""
    state = app.state  # type: ignore[attr-defined]
    if not hasattr(state, "open"):
        state.open = Counter()
    found: Counter[str] = state.open
    return found
