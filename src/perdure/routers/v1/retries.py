"""A library's own retry of a call that was never answered gets the response that it made.

The OpenAI libraries send no Idempotency-Key: a retry is the same call once more, with a header that
says that it is one, but not of what. So only what is certain is joined: a call that wanted its
whole answer in one piece, whose caller went away before it (their timeout is ten minutes), or whose
server ended before it. The store knows them, so that the retry may reach another process.
Everything else makes a response of its own.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from starlette.requests import Request

from perdure import model
from perdure.core import Core
from perdure.errors import PerdureError
from perdure.model import JSON
from perdure.routers.v1.params import Wish

AGE_MAX_S = 150.0
"""How long after its end a response may be joined: the libraries wait up to two minutes."""
LOOKED_AT = 50


def is_retry(call: Request) -> bool:
    """Tell whether a library sends this call once more, without a key that says of what."""
    count = call.headers.get("x-stainless-retry-count", "")
    return count.isdecimal() and int(count) > 0 and "idempotency-key" not in call.headers


async def unanswered(core: Core, row: model.Request, wish: Wish) -> None:
    """Note that a response's caller was not told of it; without the store there is no note."""
    if not row.transient:
        with contextlib.suppress(PerdureError):
            await core.store.unanswered(row.id, wish.fingerprint)


async def first_try(core: Core, user_id: str, wish: Wish) -> model.Request | None:
    """Return the response that an unanswered first try of this call made, if there is one."""
    row = await core.store.rejoin(user_id, wish.fingerprint)
    if row is None and core.settings.alone:
        row = await _outlived(core, user_id, wish)
    return row if row is not None and _young(row) else None


async def _outlived(core: Core, user_id: str, wish: Wish) -> model.Request | None:
    """Return a response of the same call that ended, if at all, after the server that took it in.

    Only where no other process could have answered it.
    """
    began = core.started_at
    rows, _ = await core.store.requests(user_id, limit=LOOKED_AT)
    for row in rows:
        lost = row.created_at < began and (row.completed_at is None or row.completed_at > began)
        if lost and await _same(core, row, wish):
            return row
    return None


def _young(row: model.Request) -> bool:
    return row.completed_at is None or row.completed_at > time.time() - AGE_MAX_S


async def _same(core: Core, row: model.Request, wish: Wish) -> bool:
    """Tell whether a response was made by the very same call."""
    asked = wish.given.get("model", core.default_agent_id)
    known = (row.agent_id, row.params, row.metadata)
    if known != (asked, wish.params, wish.given.get("metadata", {})):
        return False
    return _plain(await core.store.input(row.id, row.user_id)) == _plain(wish.input)


def _plain(given: Sequence[JSON]) -> list[JSON]:
    """Return items without ids, which are made anew for each call."""
    return [{key: item[key] for key in item if key != "id"} for item in given]
