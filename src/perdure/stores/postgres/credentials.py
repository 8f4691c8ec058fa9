"""Credentials on PostgreSQL."""

from __future__ import annotations

from perdure.credentials import Credential, Kind
from perdure.stores import rows
from perdure.stores.postgres.transitions import Transitions

FLOAT = "::double precision"
VALUES = f"$1, $2, $3, $4, $5, $6, $7{FLOAT}, $8{FLOAT}, $9{FLOAT}, $10"


class Credentials(Transitions):
    """`credentials.Credentials` on PostgreSQL."""

    async def add_credential(self, credential: Credential) -> None:
        # Once more after a lost connection it may be there already.
        await self.db.look(
            f"INSERT INTO credential ({rows.CREDENTIAL}) VALUES ({VALUES})"
            " ON CONFLICT (id) DO NOTHING",
            *rows.of_credential(credential),
        )

    async def credential(self, credential_id: str) -> Credential | None:
        sql = f"SELECT {rows.CREDENTIAL} FROM credential WHERE id = $1"
        found = await self.db.look(sql, credential_id)
        return rows.credential(found[0]) if found else None

    async def credentials(self, kind: Kind, user_id: str | None = None) -> list[Credential]:
        found = await self.db.look(
            f"SELECT {rows.CREDENTIAL} FROM credential WHERE kind = $1"
            " AND ($2::text IS NULL OR user_id = $2) ORDER BY created_at, id",
            kind,
            user_id,
        )
        return [rows.credential(row) for row in found]

    async def change_credential(self, credential: Credential, digest: str) -> bool:
        found = await self.db.look(
            f"UPDATE credential SET ({rows.CREDENTIAL}) = ({VALUES})"
            " WHERE id = $1 AND digest = $11 RETURNING id",
            *rows.of_credential(credential),
            digest,
        )
        return bool(found)

    async def drop_credential(self, credential_id: str) -> bool:
        sql = "DELETE FROM credential WHERE id = $1 RETURNING id"
        return bool(await self.db.look(sql, credential_id))
