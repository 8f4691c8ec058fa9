"""Credentials on Redis: one hash each, and a list of those of a kind."""

from __future__ import annotations

import msgspec

from perdure.credentials import Credential, Kind
from perdure.stores.redis.appending import Appending
from perdure.stores.redis.database import Draft
from perdure.stores.redis.values import packed

_decode = msgspec.json.Decoder(Credential).decode


class Credentials(Appending):
    """`credentials.Credentials` on Redis."""

    async def add_credential(self, credential: Credential) -> None:
        async def work(draft: Draft) -> None:
            self._keep(draft, credential)
            place = (credential.created_at, credential.id)
            draft.add("ZADD", self.key("credentials", credential.kind), *place)

        await self.db.change(work)

    async def credential(self, credential_id: str) -> Credential | None:
        (found,) = await self.db.look(("HGET", self.key("credential", credential_id), "whole"))
        return None if found is None else _decode(found)

    async def credentials(self, kind: Kind, user_id: str | None = None) -> list[Credential]:
        (ids,) = await self.db.look(("ZRANGE", self.key("credentials", kind), "0", "-1"))
        if not ids:
            return []
        keys = (self.key("credential", one.decode()) for one in ids)
        found = await self.db.look(*(("HGET", key, "whole") for key in keys))
        kept = [_decode(reply) for reply in found if reply is not None]
        return [one for one in kept if user_id in (None, one.user_id)]

    async def change_credential(self, credential: Credential, digest: str) -> bool:
        async def work(draft: Draft) -> bool:
            key = self.key("credential", credential.id)
            (found,) = await draft.read(("HGET", key, "digest"))
            if found is None or found.decode() != digest:
                return False
            draft.guard(key, "digest", digest)
            self._keep(draft, credential)
            return True

        return await self.db.change(work)

    async def drop_credential(self, credential_id: str) -> bool:
        async def work(draft: Draft) -> bool:
            key = self.key("credential", credential_id)
            (found,) = await draft.read(("HGET", key, "whole"))
            if found is None:
                return False
            draft.add("DEL", key)
            draft.add("ZREM", self.key("credentials", _decode(found).kind), credential_id)
            draft.add("ZREM", self.key("sessions"), credential_id)
            return True

        return await self.db.change(work)

    def _keep(self, draft: Draft, credential: Credential) -> None:
        """Write a credential; a session also stands in the list of those that will be over."""
        key = self.key("credential", credential.id)
        draft.add("HSET", key, "digest", credential.digest, "whole", packed(credential))
        if credential.kind == "session" and credential.expires_at is not None:
            draft.add("ZADD", self.key("sessions"), credential.expires_at, credential.id)
