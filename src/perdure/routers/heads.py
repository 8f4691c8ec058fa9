"""HEAD: what GET would answer, without its body. Routes need not know of it.

Source: RFC 9110, 9.3.2. Balancers ask so whether a server lives, `curl -I` what a route answers.
"""

from __future__ import annotations

from starlette.requests import ClientDisconnect
from starlette.types import Message, Scope, Send

EMPTY: Message = {"type": "http.response.body", "body": b"", "more_body": False}
STREAM = b"text/event-stream"


def asked_as_get(scope: Scope, send: Send) -> tuple[Scope, Send]:
    """Return the call as a GET, and where to send its answer, of which only the head goes out.

    A stream is left as soon as its head is known, as by a reader that goes away: it may be endless.
    """

    async def head(message: Message) -> None:
        if message["type"] != "http.response.start":
            return
        await send(message)
        await send(EMPTY)
        if dict(message.get("headers", ())).get(b"content-type", b"").startswith(STREAM):
            raise ClientDisconnect

    return {**scope, "method": "GET"}, head
