"""What goes on to others in a person's name: the own token, and the name itself.

The token is that of a proxy which signs people in, such as the one of Databricks Apps
(`X-Forwarded-Access-Token`). It is believed in mode `proxy` only, where the peer is known to be
that proxy, and goes nowhere but into the memory of the request's run.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from perdure.core import Core
from perdure.routers.given import Who
from perdure.user_tokens import UserToken

HEADER = "x-forwarded-access-token"
TOKEN_CHARACTERS_MAX = 16_384
MAIL_CHARACTERS_MAX = 254


async def user_token(connection: HTTPConnection) -> UserToken | None:
    """Return the caller's token, if the proxy gave one; the route itself asks who calls."""
    core: Core = connection.app.state.core
    token = connection.headers.get(HEADER, "").strip()
    if core.settings.auth.mode != "proxy" or not token or len(token) > TOKEN_CHARACTERS_MAX:
        return None
    return UserToken(token) if token.isascii() and token.isprintable() else None


OwnToken = Annotated[UserToken | None, Depends(user_token)]


async def author(connection: HTTPConnection, person: Who) -> str:
    """Return the name under which others know the caller: the e-mail address where there is one."""
    core: Core = connection.app.state.core
    mail = connection.headers.get("x-forwarded-email", "").strip()
    known = core.settings.auth.mode == "proxy" and mail.isprintable()
    return mail if known and 0 < len(mail) <= MAIL_CHARACTERS_MAX else person.user_id


Author = Annotated[str, Depends(author)]
