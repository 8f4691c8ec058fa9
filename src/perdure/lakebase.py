"""The password of a Lakebase database: a token of ours that Databricks takes for an hour.

`database.password_from = "perdure.lakebase:password"`. Where the database is, and as whom, tells
Databricks Apps by `PGHOST`, `PGUSER`, … (so `store_url = "postgresql://"` is enough there).
"""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from perdure.errors import Unavailable, UpstreamError
from perdure.handlers.databricks.credentials import Credentials

_signed_in: WeakKeyDictionary[asyncio.AbstractEventLoop, Credentials] = WeakKeyDictionary()
"""One for each loop of the process: leases are renewed in a loop of their own."""


async def password() -> str:
    """Return a token that is valid for a new connection.

    Raises `Unavailable` while there is none, so that what is to be stored waits for it.
    """
    loop = asyncio.get_running_loop()
    credentials = _signed_in.get(loop)
    if credentials is None:
        credentials = _signed_in[loop] = Credentials()
    try:
        signed = await credentials.signed()
    except UpstreamError as error:
        detail = f"There is no password for the database: {error.detail}"
        raise Unavailable(detail, code="store_unreachable") from None
    return signed.headers["Authorization"].removeprefix("Bearer ")
