"""Tokens: what one's programs show instead of a login. A secret is told once, when it is made."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Body, Path, Query, Response
from pydantic import AfterValidator, BaseModel, Field

from perdure import keyring
from perdure.core import Core
from perdure.credentials import Credential, Scope
from perdure.errors import Invalid, NotFound
from perdure.routers import shapes
from perdure.routers.body import JsonRoute
from perdure.routers.given import Running, Who, known, plain
from perdure.routers.identity import USER_CHARACTERS_MAX, Person
from perdure.routers.problems import responses
from perdure.routers.shapes import AT, example, moment, since

router = APIRouter(prefix="/api/tokens", tags=["session"], route_class=JsonRoute)

EXAMPLE = {
    "id": "tok_0d1c2b3a4f5e69788796a5b4",
    "user_id": "ann@example.com",
    "name": "laptop",
    "scopes": ["read", "write"],
    "created_at": AT,
    "expires_at": AT,
    "used_at": AT,
}
DAY_S = 86_400
USER = Query(max_length=USER_CHARACTERS_MAX, description="Whose; admins only. Empty = everyone's.")
Text = Annotated[str, AfterValidator(plain), Field(min_length=1, max_length=USER_CHARACTERS_MAX)]


class Token(BaseModel):
    """A token, without its secret."""

    model_config = example(**EXAMPLE)

    id: str
    user_id: str
    name: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None = Field(description="Null = never.")
    used_at: datetime | None = Field(description="To the minute; null = not yet.")

    @classmethod
    def of(cls, token: Credential) -> Self:
        """Show a token."""
        return cls(
            id=token.id,
            user_id=token.user_id,
            name=token.name,
            scopes=token.scopes,
            created_at=since(token.created_at),
            expires_at=moment(token.expires_at),
            used_at=moment(token.used_at),
        )


class Tokens(BaseModel):
    """Tokens, oldest first."""

    tokens: list[Token]


class NewToken(BaseModel):
    """What a token is to be."""

    model_config = example(name="laptop", scopes=["read", "write"], days=90)

    name: Text
    scopes: list[Scope] = Field(
        default=["read", "write"], min_length=1, max_length=3, description="At most one's own."
    )
    days: float | None = Field(
        default=None, gt=0, le=36_500, allow_inf_nan=False, description="Null = for ever."
    )
    user_id: Text | None = Field(default=None, description="Whose; others' for admins only.")


class MadeToken(BaseModel):
    """A new token with its secret, which is told only now."""

    model_config = example(token=EXAMPLE, secret="perdure_tok_0d1c2b3a4f5e69788796a5b4_…")  # noqa: S106 - no token

    token: Token
    secret: str


@router.get(
    "", operation_id="listTokens", response_model=Tokens, responses=responses(403, 404, 422, 503)
)
async def list_tokens(
    core: Running, person: Who, user: Annotated[str | None, AfterValidator(plain), USER] = None
) -> Response:
    """List one's tokens."""
    _offered(core)
    if user is not None and not person.admin:
        raise Invalid("Only admins may do this.", code="admin_only", status=403)
    whose = person.user_id if user is None else user or None
    found = await core.store.credentials("token", whose)
    return shapes.answer(Tokens(tokens=[Token.of(token) for token in found]))


@router.post(
    "",
    operation_id="createToken",
    status_code=201,
    response_model=MadeToken,
    responses=responses(400, 403, 404, 413, 422, 503),
)
async def create_token(core: Running, person: Who, body: Annotated[NewToken, Body()]) -> Response:
    """Make a token; keep its secret, nobody can show it again."""
    _offered(core)
    user_id = body.user_id or person.user_id
    if not person.admin and (user_id != person.user_id or "admin" in body.scopes):
        raise Invalid("Only admins may do this.", code="admin_only", status=403)
    lasts_s = None if body.days is None else body.days * DAY_S
    scopes = sorted(set(body.scopes))
    made, secret = await keyring.make_token(core.store, user_id, body.name, scopes, lasts_s)
    return shapes.answer(MadeToken(token=Token.of(made), secret=secret), 201)


@router.delete(
    "/{token_id}", operation_id="revokeToken", status_code=204, responses=responses(404, 503)
)
async def revoke_token(
    core: Running,
    person: Who,
    token_id: Annotated[str, AfterValidator(known), Path(description="`tok_…`")],
) -> Response:
    """Revoke a token: it and the sessions that began with it end at once."""
    await _own(core, person, token_id)
    await keyring.revoke_token(core.store, token_id)
    return Response(status_code=204)


def _offered(core: Core) -> None:
    if core.settings.auth.mode not in ("token", "oidc"):
        detail = f"There are no tokens with auth.mode = {core.settings.auth.mode}."
        raise NotFound(detail, code="not_found")


async def _own(core: Core, person: Person, token_id: str) -> None:
    """Raise `NotFound` unless the token is the person's, or the person an admin."""
    found = await core.store.credential(token_id)
    if found is None or not (person.admin or found.user_id == person.user_id):
        raise keyring.unknown(token_id)
