"""A library's own retry of a call that was never answered gets the response that it made.

The OpenAI libraries send no Idempotency-Key: a retry is the same call once more, with a header that
says that it is one, but not of what. So only what is certain is joined: a call that wanted its
whole answer in one piece, whose caller went away before it (their timeout is ten minutes), or whose
server ended before it. Everything else makes a response of its own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from starlette.requests import Request

from perdure import model
from perdure.core import Core
from perdure.model import JSON
from perdure.routers.v1.params import Wish

AGE_MAX_S = 150.0
"""How long after its end a response may be joined: the libraries wait up to two minutes."""
LOOKED_AT = 50
REMEMBERED = 1000


class Unanswered:
    """Responses whose callers left this process before they were answered; the latest ones."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def add(self, response_id: str) -> None:
        """Remember that nobody was told of a response."""
        self._ids[response_id] = None
        if len(self._ids) > REMEMBERED:
            del self._ids[next(iter(self._ids))]

    def discard(self, response_id: str) -> None:
        """Forget it: somebody waits for it again."""
        self._ids.pop(response_id, None)

    def __contains__(self, response_id: str) -> bool:
        return response_id in self._ids


def unanswered_of(call: Request) -> Unanswered:
    """Return the process's memory of the unanswered, made with the first call."""
    state = call.app.state
    if not hasattr(state, "unanswered"):
        state.unanswered = Unanswered()
    found: Unanswered = state.unanswered
    return found


def is_retry(call: Request) -> bool:
    """Tell whether a library sends this call once more, without a key that says of what."""
    count = call.headers.get("x-stainless-retry-count", "")
    return count.isdecimal() and int(count) > 0 and "idempotency-key" not in call.headers


async def first_try(core: Core, user_id: str, wish: Wish, call: Request) -> model.Request | None:
    """Return the response that an unanswered first try of this call made, if there is one."""
    rows, _ = await core.store.requests(user_id, limit=LOOKED_AT)
    unanswered = unanswered_of(call)
    for row in rows:
        mine = row.id in unanswered or _outlived(core, row)
        if mine and _young(row) and await _same(core, row, wish):
            unanswered.discard(row.id)
            return row
    return None


def _outlived(core: Core, row: model.Request) -> bool:
    """Tell whether a response ended, if at all, after the server that took it in."""
    began = core.started_at
    return row.created_at < began and (row.completed_at is None or row.completed_at > began)


def _young(row: model.Request) -> bool:
    return row.completed_at is None or row.completed_at > time.time() - AGE_MAX_S


async def _same(core: Core, row: model.Request, wish: Wish) -> bool:
    """Tell whether a response was made by the very same call."""
    asked = wish.given.get("model") or core.default_agent_id
    known = (row.agent_id, row.params, row.metadata)
    if known != (asked, wish.params, wish.given.get("metadata", {})):
        return False
    return _plain(await core.store.input(row.id, row.user_id)) == _plain(wish.input)


def _plain(given: Sequence[JSON]) -> list[JSON]:
    """Return items without ids, which are made anew for each call."""
    return [{key: item[key] for key in item if key != "id"} for item in given]
