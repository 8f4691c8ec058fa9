"""A library's own retry of a call that was never answered gets the response that it made.

The OpenAI libraries send no Idempotency-Key: a retry is the same call once more, with a header that
says that it is one, but not of what. So only what is certain is joined: a call that wanted its
whole answer in one piece, whose caller went away before it (their timeout is ten minutes), or whose
server ended before it. The store knows them, so that the retry may reach another process: one that
holds a call says so again and again, and one that was killed says it no more. Everything else makes
a response of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence

from starlette.requests import Request

from perdure import chores, model
from perdure.core import Core
from perdure.errors import PerdureError
from perdure.model import JSON
from perdure.routers.v1.params import Wish

AGE_MAX_S = 150.0
"""How long after its end a response may be joined: the libraries wait up to two minutes."""
LOOKED_AT = 50
HOLD_S = 2.0
"""How often a server says that it holds a call; the first time after so long."""
HELD, ANSWERED = "held ", "answered "
"""What a note says of a call, before its fingerprint; without either, that nobody was told."""


def is_retry(call: Request) -> bool:
    """Tell whether a library sends this call once more, without a key that says of what."""
    count = call.headers.get("x-stainless-retry-count", "")
    return count.isdecimal() and int(count[:9]) > 0 and "idempotency-key" not in call.headers


async def unanswered(core: Core, row: model.Request, wish: Wish) -> None:
    """Note that a response's caller was not told of it; without the store there is no note."""
    if not row.transient:
        with contextlib.suppress(PerdureError):
            await core.store.unanswered(row.id, wish.fingerprint)


@contextlib.asynccontextmanager
async def held(core: Core, row: model.Request, wish: Wish) -> AsyncIterator[None]:
    """Say, as long as the block lasts, that a living server holds this call.

    Where it is the only one, its next start tells by the times.
    """
    if row.transient or core.settings.alone:
        yield
        return
    noted = asyncio.Event()
    saying = asyncio.create_task(_say(core, row, HELD + wish.fingerprint, noted))
    try:
        yield
    finally:
        await chores.end([saying])
        if noted.is_set():
            with contextlib.suppress(PerdureError):
                if await core.store.rejoin(row.user_id, HELD + wish.fingerprint) is None:
                    # A retry took the note away, and waits to see whether it comes back.
                    await core.store.unanswered(row.id, ANSWERED + wish.fingerprint)


async def _say(core: Core, row: model.Request, mark: str, noted: asyncio.Event) -> None:
    while True:
        await asyncio.sleep(HOLD_S)
        with contextlib.suppress(PerdureError):
            noted.set()
            await core.store.unanswered(row.id, mark)


async def first_try(core: Core, user_id: str, wish: Wish) -> model.Request | None:
    """Return the response that an unanswered first try of this call made, if there is one."""
    row = await core.store.rejoin(user_id, wish.fingerprint)
    if row is None:
        find = _outlived if core.settings.alone else _orphaned
        row = await find(core, user_id, wish)
    return row if row is not None and _young(row) else None


async def _orphaned(core: Core, user_id: str, wish: Wish) -> model.Request | None:
    """Return a response of the same call whose server was killed while it held it.

    Its note is taken away; one that lives puts it back, or tells what became of the call.
    """
    row = await core.store.rejoin(user_id, HELD + wish.fingerprint)
    if row is None:
        return None
    await asyncio.sleep(2.5 * HOLD_S)
    left = await core.store.rejoin(user_id, wish.fingerprint)
    if left is not None:
        return left
    for mark in (HELD, ANSWERED):
        if await core.store.rejoin(user_id, mark + wish.fingerprint) is not None:
            return None
    return row


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
