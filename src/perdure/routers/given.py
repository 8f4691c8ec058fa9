"""What a route is given: the core, the person, and the ids and cursors of its address, checked."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import Depends, Header, Path, Query
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from starlette.requests import HTTPConnection

from perdure.core import Core
from perdure.errors import Invalid, NotFound
from perdure.model import Status
from perdure.routers.identity import Person, admin_of, asker_of, person_of

NUMBER_MAX = 2**53 - 1
"""The largest number that every JSON reader and every store can hold."""

KEY_CHARACTERS_MAX = 255
PAGE_SIZE = 50


def core_of(connection: HTTPConnection) -> Core:
    """Return the running core of the app that this connection reached."""
    core: Core = connection.app.state.core
    return core


async def _running(connection: HTTPConnection) -> Core:
    """Give routes the core; a coroutine, since FastAPI moves plain dependencies to a thread."""
    return core_of(connection)


def known(identity: str) -> str:
    """Return an id that could be one of ours; whatever else it is, it names nothing (404)."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", identity):
        raise NotFound("There is no such object.")
    return identity


def plain(text: str) -> str:
    """Return text that every store can keep; raises `ValueError` for NUL and lone surrogates."""
    if "\x00" in text:
        message = "NUL characters are not allowed"
        raise ValueError(message)
    try:
        text.encode()
    except UnicodeEncodeError:
        message = "lone surrogates are not allowed"
        raise ValueError(message) from None
    return text


def or_empty(shape: Any, absent: object = None) -> BeforeValidator:
    """Let a parameter of this shape be empty, as forms send it: then it counts as `absent`."""
    return BeforeValidator(
        lambda given: absent if given == "" else given, json_schema_input_type=shape | Literal[""]
    )


def placed(connection: HTTPConnection, path: str) -> str:
    """Return the address of one of our paths as the caller has to ask for it."""
    return quote(connection.scope.get("root_path", "")) + path


def number(text: str, name: str) -> int:
    """Return the number of an event that a header or a query gives; raises `Invalid`."""
    if not re.fullmatch(r"-1|[0-9]{1,16}", text.strip()) or int(text) > NUMBER_MAX:
        detail = f"{name} must be the number of an event, or -1 for the start."
        raise Invalid(detail, code="invalid_cursor")
    return int(text)


def cursor_of(last_event_id: str | None, after: str | None) -> int:
    """Return the exclusive cursor of a reader, -1 = from the start; raises `Invalid`.

    The header wins, whatever `after` is: a reconnecting `EventSource` repeats the old address. An
    empty one counts as absent. Source: WHATWG HTML, server-sent events.
    """
    if last_event_id:
        return number(last_event_id, "Last-Event-ID")
    return number(after, "after") if after else -1


async def idempotency_key(
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="Repeating a call with the same key and body changes nothing more.",
        ),
    ] = None,
) -> str | None:
    """Return the trimmed key; raises `Invalid` when it is blank or over 255 characters."""
    if key is None:
        return None
    trimmed = key.strip()
    if not trimmed or len(trimmed) > KEY_CHARACTERS_MAX or not trimmed.isprintable():
        raise Invalid(
            "Idempotency-Key must have 1 to 255 printable characters.",
            code="invalid_idempotency_key",
        )
    return trimmed


Running = Annotated[Core, Depends(_running)]
Who = Annotated[Person, Depends(person_of)]
Asker = Annotated[Person, Depends(asker_of)]
Admin = Annotated[Person, Depends(admin_of)]
Key = Annotated[str | None, Depends(idempotency_key)]

Known = Annotated[str, AfterValidator(known)]
RequestId = Annotated[Known, Path(description="`resp_…`")]
ChatId = Annotated[Known, Path(description="`chat_…`")]
MessageId = Annotated[Known, Path(description="`msg_…`")]

# As text: what is none is `invalid_cursor`, as on sockets, and is nothing to a header that wins.
Count = Annotated[
    str | None, WithJsonSchema({"type": "integer", "minimum": -1, "maximum": NUMBER_MAX})
]
After = Annotated[
    Count, Query(description="Number of the last event already seen (exclusive); -1 = the start.")
]
LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", description="As `after`, set by browsers; wins over it."),
]
_Size = Annotated[int, Field(ge=1, le=200)]
_Next = Annotated[str, AfterValidator(plain), Field(max_length=512)]
Limit = Annotated[_Size, or_empty(_Size, PAGE_SIZE), Query(description="Size of a page.")]
Cursor = Annotated[
    _Next | None,
    or_empty(_Next | None),
    Query(description="`next_cursor` of the page before."),
]
InState = Annotated[
    Status | None, or_empty(Status | None), Query(description="Only requests in this state.")
]
