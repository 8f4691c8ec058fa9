"""Credentials on SQLite."""

from __future__ import annotations

from perdure.credentials import Credential, Kind
from perdure.stores import rows
from perdure.stores.sqlite.transitions import Transitions


class Credentials(Transitions):
    """`credentials.Credentials` on one SQLite file."""

    async def add_credential(self, credential: Credential) -> None:
        values = rows.of_credential(credential)
        marks = ", ".join("?" * len(values))
        sql = f"INSERT INTO credential ({rows.CREDENTIAL}) VALUES ({marks})"
        await self.db.write(lambda: self.db.all(sql, *values))

    async def credential(self, credential_id: str) -> Credential | None:
        sql = f"SELECT {rows.CREDENTIAL} FROM credential WHERE id = ?"
        found = self.db.look(sql, credential_id)
        return rows.credential(found[0]) if found else None

    async def credentials(self, kind: Kind, user_id: str | None = None) -> list[Credential]:
        sql = (
            f"SELECT {rows.CREDENTIAL} FROM credential WHERE kind = ?1"
            " AND (?2 IS NULL OR user_id = ?2) ORDER BY created_at, id"
        )
        return [rows.credential(row) for row in self.db.look(sql, kind, user_id)]

    async def change_credential(self, credential: Credential, digest: str) -> bool:
        sql = (
            f"UPDATE credential SET ({rows.CREDENTIAL}) = (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
            " WHERE id = ?1 AND digest = ?11 RETURNING id"
        )
        values = rows.of_credential(credential)
        return bool(await self.db.write(lambda: self.db.all(sql, *values, digest)))

    async def drop_credential(self, credential_id: str) -> bool:
        sql = "DELETE FROM credential WHERE id = ? RETURNING id"
        return bool(await self.db.write(lambda: self.db.all(sql, credential_id)))
