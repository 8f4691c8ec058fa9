"""One message more in a chat's tree."""

from __future__ import annotations

from perdure.model import Message
from perdure.ports import NewMessage
from perdure.stores import rows, words
from perdure.stores.postgres.database import NOW, Session

INSERT = f"""
INSERT INTO message (id, chat_id, parent_id, role, text, parts, request_id, created_at, words)
VALUES ($1, $2, $3, $4, $5, $6, $7, {NOW}, array_to_tsvector($8)) RETURNING {rows.MESSAGE}
"""


async def insert(
    session: Session,
    chat_id: str,
    message: NewMessage,
    parent: str | None,
    request_id: str | None = None,
) -> Message:
    """Put a message behind `parent`; `request_id`: what makes it, when it is an answer."""
    row = await session.one(
        INSERT,
        message.id,
        chat_id,
        parent,
        message.role,
        message.text,
        rows.dump(message.parts),
        request_id,
        await words.apart(message.text),
    )
    return rows.message(row)
