"""The password of a Lakebase database: a token of ours that Databricks takes for an hour.

`database.password_from = "perdure.lakebase:password"`. Where the database is, and as whom, tells
Databricks Apps by `PGHOST`, `PGUSER`, … (so `store_url = "postgresql://"` is enough there).
"""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from perdure.handlers.databricks.credentials import Credentials

_signed_in: WeakKeyDictionary[asyncio.AbstractEventLoop, Credentials] = WeakKeyDictionary()
"""One for each loop of the process: leases are renewed in a loop of their own."""


async def password() -> str:
    """Return a token that is valid for a new connection. Raises `UpstreamError` without one."""
    loop = asyncio.get_running_loop()
    credentials = _signed_in.get(loop)
    if credentials is None:
        credentials = _signed_in[loop] = Credentials()
    signed = await credentials.signed()
    return signed.headers["Authorization"].removeprefix("Bearer ")
