"""Signing in and out in a browser: with a token, or at an OpenID provider; then it has a cookie."""

from __future__ import annotations

import base64
import html
import re
import time
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from perdure.core import Core
from perdure.credentials import Credential, Scope
from perdure.errors import Invalid, NotFound, PerdureError
from perdure.logins import Arrival, Journey, Provider
from perdure.routers import cookies, pages, shapes, turnstile
from perdure.routers.body import JsonRoute
from perdure.routers.given import Running, placed, plain
from perdure.routers.identity import USER_CHARACTERS_MAX, is_admin, trusted
from perdure.routers.problems import responses
from perdure.routers.public import public
from perdure.routers.shapes import example
from perdure.sections import Oidc

router = APIRouter(tags=["session"], route_class=JsonRoute)

JOURNEY_S = 600
"""How long a login may take."""
LOCAL_PATH = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]{0,1000}")
"""Where a login may lead: a path of this server, nothing that another server could be."""
EVERYTHING: list[Scope] = ["read", "write", "admin"]


class Session(BaseModel):
    """Whether this browser is signed in, and how it can be."""

    model_config = example(auth_mode="oidc", signed_in=False, login_url="/auth/login")

    auth_mode: str
    signed_in: bool
    login_url: str | None = Field(description="Where to send the browser, in mode `oidc`.")


class SignIn(BaseModel):
    """A token to begin a session with."""

    model_config = example(token="perdure_tok_0d1c2b3a4f5e69788796a5b4_…")  # noqa: S106 - no token

    token: str = Field(max_length=200)


class Farewell(BaseModel):
    """Where to go after signing out."""

    model_config = example(redirect="/")

    redirect: str = Field(description="The provider's page that signs out there too, or ours.")


@router.get(
    "/api/session",
    operation_id="getSession",
    response_model=Session,
    responses=responses(503),
)
@public
async def get_session(core: Running, request: Request) -> Response:
    """Tell whether this browser is signed in, without a 401 for who is not."""
    mode = core.settings.auth.mode
    secret = cookies.secret_in(request)
    signed_in = mode in ("none", "proxy")
    if not signed_in and secret:
        signed_in = await core.keyring.open(secret, "session") is not None
    login_url = placed(request, "/auth/login") if mode == "oidc" else None
    return shapes.answer(Session(auth_mode=mode, signed_in=signed_in, login_url=login_url))


@router.post(
    "/api/session",
    operation_id="signIn",
    status_code=204,
    responses=responses(400, 401, 404, 413, 422, 429, 503),
)
@public
async def sign_in(core: Running, request: Request, body: SignIn) -> Response:
    """Begin a session with a token; it sets a cookie and ends with the token."""
    if core.settings.auth.mode != "token":
        raise NotFound("Nobody signs in with a token here.", code="not_found")
    await turnstile.count(request, _peer(request), "sign-ins")
    opened = await core.keyring.open(body.token.strip(), "token")
    if opened is None:
        raise Invalid("This token is not known here.", code="invalid_token", status=401)
    token = opened.credential
    await _begin(core, request, token.user_id, token.user_id, token.scopes, token_id=token.id)
    return Response(status_code=204)


@router.delete(
    "/api/session", operation_id="signOut", response_model=Farewell, responses=responses(503)
)
@public
async def sign_out(core: Running, request: Request) -> Response:
    """End this browser's session, here at once and by the address returned at the provider."""
    secret = cookies.secret_in(request)
    ended = await core.keyring.end(secret) if secret else None
    cookies.drop(request)
    return shapes.answer(Farewell(redirect=await _farewell(core, request, ended)))


@router.get("/auth/login", include_in_schema=False)
@public
async def login(
    core: Running,
    request: Request,
    then: Annotated[str, Query(alias="next", max_length=2000)] = "",
) -> Response:
    """Send the browser to the provider; it comes back to `/auth/callback`, and from there on."""
    await turnstile.count(request, _peer(request), "sign-ins")
    back = f"{_public_url(core, request)}/auth/callback"
    provider = _provider(request)
    try:
        url, journey = await provider.depart(_local(then or placed(request, "/")), back)
    except PerdureError as error:
        return _sorry(error)
    answer = RedirectResponse(url, 303, {"Cache-Control": "no-store"})
    carried = base64.urlsafe_b64encode(msgspec.json.encode(journey)).decode().rstrip("=")
    name = _journey_name(request, journey.state)
    answer.raw_headers.append((b"set-cookie", cookies.made(request, name, carried, JOURNEY_S)))
    return answer


@router.get("/auth/callback", include_in_schema=False)
@public
async def callback(core: Running, request: Request, state: str = "") -> Response:
    """Begin the session of whom the provider names; show a page with the reason when it cannot."""
    await turnstile.count(request, _peer(request), "sign-ins")
    name = _journey_name(request, state)
    try:
        journey = _journey(request, name)
        arrival = await _provider(request).arrive(journey, request.url.query)
        await _welcome(core, request, arrival)
    except PerdureError as error:
        return _sorry(error)
    answer = RedirectResponse(_local(journey.next), 303, {"Cache-Control": "no-store"})
    answer.raw_headers.append((b"set-cookie", cookies.made(request, name, "", 0)))
    return answer


async def _welcome(core: Core, request: Request, arrival: Arrival) -> None:
    """Begin a session in place of the one before."""
    auth, claims = core.settings.auth, arrival.claims
    user_id = _user_id(auth.oidc, claims)
    name = _text(claims.get(auth.oidc.name_claim)) or _text(claims.get("email")) or user_id
    listed = claims.get(auth.oidc.groups_claim)
    groups = [str(one) for one in listed] if isinstance(listed, list) else [_text(listed)]
    names = (user_id, _text(claims.get("email")) if _verified(claims) else "")
    scopes = EVERYTHING if is_admin(auth, names, groups) else EVERYTHING[:2]
    await _begin(core, request, user_id, name, scopes, id_token=arrival.id_token)


def _user_id(oidc: Oidc, claims: dict[str, object]) -> str:
    """Return the person's id; an address that the provider did not verify is none."""
    user_id = _text(claims.get(oidc.user_claim))
    if oidc.user_claim == "email" and not _verified(claims):
        user_id = ""
    if not user_id:
        detail = f"The login did not succeed: there is no (verified) {oidc.user_claim} in it."
        raise Invalid(detail, code="login_refused", status=401)
    return user_id


def _verified(claims: dict[str, object]) -> bool:
    """Tell whether the provider stands for the e-mail address; some say "false" in a text."""
    return claims.get("email_verified") is True


async def _begin(
    core: Core, request: Request, user_id: str, name: str, scopes: list[Scope], **details: str
) -> None:
    """Begin a session, end the one that this browser had, and set the cookie."""
    before = cookies.secret_in(request)
    if before:
        await core.keyring.end(before)
    session, secret = await core.keyring.begin(user_id, name, scopes, details)
    cookies.put(request, secret, (session.expires_at or 0) - time.time())


async def _farewell(core: Core, request: Request, ended: Credential | None) -> str:
    """Return where to go after signing out; the provider being away must not hold anybody."""
    if core.settings.auth.mode != "oidc" or ended is None:
        return placed(request, "/")
    try:
        back = f"{_public_url(core, request)}/"
        url = await _provider(request).farewell(ended.details.get("id_token", ""), back)
    except PerdureError:
        url = ""
    return url or placed(request, "/")


def _provider(request: Request) -> Provider:
    provider: Provider | None = request.app.state.provider
    if provider is None:
        raise NotFound("Nobody logs in at a provider here.", code="not_found")
    return provider


def _public_url(core: Core, request: Request) -> str:
    """Return the address by which browsers know this application, without a slash at its end."""
    origin = core.settings.auth.public_url or cookies.origin_of(request)
    return origin + placed(request, "")


def _journey_name(request: Request, state: str) -> str:
    """Return the name of a login's cookie: one for each, since tabs may log in side by side."""
    part = re.sub(r"[^A-Za-z0-9]", "", state)[:16]
    return f"{cookies.name_for(request)}_login_{part}"


def _journey(request: Request, name: str) -> Journey:
    carried = request.cookies.get(name, "")
    try:
        padded = carried + "=" * (-len(carried) % 4)
        return msgspec.json.decode(base64.urlsafe_b64decode(padded), type=Journey)
    except (ValueError, msgspec.MsgspecError):
        detail = "This login was not begun in this browser, or took too long. Begin again."
        raise Invalid(detail, code="login_unknown", status=400) from None


def _sorry(error: PerdureError) -> Response:
    """Show why a login came to nothing, and the way to another one."""
    body = (
        f"<h1>Not signed in</h1><p>{html.escape(error.detail)}</p>"
        '<nav><a href="login">Try again</a></nav>'
    )
    answer = pages.page("Not signed in", body)
    answer.status_code = getattr(error, "status", 503)
    return answer


def _local(path: str) -> str:
    return path if LOCAL_PATH.fullmatch(path) else "/"


def _text(claim: object) -> str:
    """Return a claim that can be shown and kept, or ""."""
    text = claim.strip() if isinstance(claim, str) else ""
    try:
        plain(text)
    except ValueError:
        return ""
    return text if len(text) <= USER_CHARACTERS_MAX and text.isprintable() else ""


def _peer(request: Request) -> str:
    """Return the address that signs in: behind a trusted proxy, the one that it names last."""
    peer = request.client.host if request.client else "unknown"
    if not trusted(peer, request.app.state.core.settings.auth.trusted_proxies):
        return peer
    return request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()[:64] or peer
