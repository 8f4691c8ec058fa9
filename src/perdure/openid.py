"""A login with an OpenID provider: where to send the browser, and whom it brings back.

The authorization code flow with PKCE, state and nonce. Requests and answers are Authlib's, the ID
token's signature and claims joserfc's. Authlib speaks through httpx2 where that is installed, and
so do we: its errors are no others than ours.
Source: OpenID Connect Core 1.0 and Discovery 1.0; RP-Initiated Logout 1.0; RFC 7636.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from perdure.errors import Invalid, Unavailable
from perdure.logins import Arrival, Journey
from perdure.model import JSON
from perdure.sections import Oidc

TIMEOUT_S = 10
CLOCK_SKEW_S = 60
KEYS_AGAIN_S = 30
"""How soon a key that is not known is looked for again."""
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
"""Public keys only: with `HS256`, who knows a public key could sign."""
NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")
NO_CODE = "none-was-given"


class OpenIdProvider:
    """`logins.Provider` for one issuer; its metadata and keys are read when first needed."""

    def __init__(self, settings: Oidc) -> None:
        self._settings = settings
        self._metadata: JSON = {}
        self._keys: KeySet | None = None
        self._keys_at = 0.0
        self._lock = asyncio.Lock()

    async def depart(self, next_: str, redirect_uri: str) -> tuple[str, Journey]:
        """Begin a login."""
        metadata = await self.known()
        journey = Journey(
            state=secrets.token_urlsafe(24),
            nonce=secrets.token_urlsafe(24),
            verifier=secrets.token_urlsafe(48),
            next=next_,
            redirect_uri=redirect_uri,
        )
        async with self._client(redirect_uri) as client:
            url, _ = client.create_authorization_url(
                metadata["authorization_endpoint"],
                state=journey.state,
                nonce=journey.nonce,
                code_verifier=journey.verifier,
            )
        return str(url), journey

    async def arrive(self, journey: Journey, query: str) -> Arrival:
        """End a login: code for tokens, tokens for claims."""
        metadata = await self.known()
        _check(dict(parse_qsl(query)), journey, metadata)
        try:
            async with self._client(journey.redirect_uri) as client:
                token = await client.fetch_token(
                    metadata["token_endpoint"],
                    authorization_response=f"{journey.redirect_uri}?{query}",
                    state=journey.state,
                    code_verifier=journey.verifier,
                )
        except AuthlibBaseError as error:
            raise _refused(error.description or error.error) from None
        except (httpx2.HTTPError, ValueError) as error:
            raise self._away(error) from None
        id_token = str(token.get("id_token", ""))
        claims = await self._believed(id_token, journey.nonce)
        return Arrival(await self._told(claims, str(token.get("access_token", ""))), id_token)

    async def farewell(self, id_token: str, back_to: str) -> str | None:
        """Sign out there as well (RP-initiated)."""
        endpoint = (await self.known()).get("end_session_endpoint")
        if not endpoint:
            return None
        query = {
            "client_id": self._settings.client_id,
            "post_logout_redirect_uri": back_to,
            **({"id_token_hint": id_token} if id_token else {}),
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    async def known(self) -> JSON:
        """Return the provider's metadata; what names another issuer is not its."""
        async with self._lock:
            if not self._metadata:
                issuer = self._settings.issuer.rstrip("/")
                found = await self._read(metadata_url(issuer))
                why = _unfit(found, issuer)
                if why:
                    detail = f"The OpenID provider at {issuer} {why}."
                    raise Unavailable(detail, code="provider_unavailable")
                self._metadata = found
        return self._metadata

    async def rehearse(self, redirect_uri: str) -> str:
        """Show the provider a code that it never gave; return the code of its refusal.

        It is `invalid_grant` when the provider knows this client. Raises `Unavailable`.
        """
        metadata = await self.known()
        try:
            async with self._client(redirect_uri) as client:
                await client.fetch_token(
                    metadata["token_endpoint"],
                    code=NO_CODE,
                    grant_type="authorization_code",
                    code_verifier=secrets.token_urlsafe(48),
                )
        except AuthlibBaseError as error:
            return str(error.error)
        except (httpx2.HTTPError, ValueError) as error:
            raise self._away(error) from None
        return ""

    async def _believed(self, id_token: str, nonce: str) -> JSON:
        """Return an ID token's claims, once everything about it is right."""
        decoded = await self._decoded(id_token)
        registry = jwt.JWTClaimsRegistry(
            leeway=CLOCK_SKEW_S,
            iss={"essential": True, "value": self._metadata["issuer"]},
            aud={"essential": True, "value": self._settings.client_id},
            nonce={"essential": True, "value": nonce},
            sub={"essential": True},
            exp={"essential": True},
        )
        try:
            registry.validate(decoded.claims)
        except JoseError as error:
            raise _unbelievable(error) from None
        party = decoded.claims.get("azp", self._settings.client_id)
        if party != self._settings.client_id:
            raise _unbelievable("it was made for another client")
        return dict(decoded.claims)

    async def _told(self, claims: JSON, access_token: str) -> JSON:
        """Add what the provider tells of the person on request; the ID token's claims win."""
        url = self._metadata.get("userinfo_endpoint")
        if not url or not access_token:
            return claims
        more = await self._read(url, {"Authorization": f"Bearer {access_token}"})
        if more.get("sub") != claims["sub"]:
            raise _refused("the provider speaks of somebody else")
        return {**more, **claims}

    async def _decoded(self, id_token: str) -> jwt.Token:
        """Check the signature; a provider that changed its keys is asked for them once more."""
        try:
            return jwt.decode(id_token, await self._keyset(), algorithms=ALGORITHMS)
        except (JoseError, ValueError) as error:
            if time.monotonic() - self._keys_at < KEYS_AGAIN_S:
                raise _unbelievable(error) from None
        self._keys = None
        try:
            return jwt.decode(id_token, await self._keyset(), algorithms=ALGORITHMS)
        except (JoseError, ValueError) as error:
            raise _unbelievable(error) from None

    async def _keyset(self) -> KeySet:
        if self._keys is None:
            self._keys_at = time.monotonic()
            found = await self._read((await self.known())["jwks_uri"])
            try:
                self._keys = keys_in(found)
            except ValueError as error:
                raise self._away(error) from None
        return self._keys

    async def _read(self, url: str, headers: dict[str, str] | None = None) -> JSON:
        try:
            async with httpx2.AsyncClient(timeout=TIMEOUT_S) as client:
                answer = (await client.get(url, headers=headers)).raise_for_status()
            return dict(answer.json())
        except (httpx2.HTTPError, ValueError) as error:
            raise self._away(error) from None

    def _client(self, redirect_uri: str) -> Any:
        wanted = self._settings
        return AsyncOAuth2Client(
            client_id=wanted.client_id,
            client_secret=wanted.client_secret or None,
            scope=wanted.scopes,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            timeout=TIMEOUT_S,
        )

    def _away(self, error: Exception) -> Unavailable:
        detail = f"The OpenID provider {self._settings.issuer} does not answer as it should"
        return Unavailable(f"{detail} ({type(error).__name__}).", code="provider_unavailable")


def metadata_url(issuer: str) -> str:
    """Return where a provider tells of itself."""
    return f"{issuer.rstrip('/')}/.well-known/openid-configuration"


def keys_in(found: Any) -> KeySet:
    """Return a provider's keys; raises `ValueError` when there are none that we know."""
    try:
        return KeySet.import_key_set(found)
    except (JoseError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(str(error)) from None


def _unfit(metadata: JSON, issuer: str) -> str:
    """Return why a provider's metadata cannot be used, "" when they can."""
    own = metadata.get("issuer")
    if str(own).rstrip("/") != issuer:
        return f"calls itself {own}"
    missing = [name for name in NEEDED if not isinstance(metadata.get(name), str)]
    return f"does not tell its {', '.join(missing)}" if missing else ""


def _check(answer: JSON, journey: Journey, metadata: JSON) -> None:
    """Raise `Invalid` for an answer to another question, of another provider, or without a code."""
    if not hmac.compare_digest(answer.get("state", "").encode(), journey.state.encode()):
        raise _refused("the answer belongs to another login")
    # RFC 9207: which provider answers, where it says so.
    if answer.get("iss", metadata["issuer"]) != metadata["issuer"]:
        raise _refused("another provider answered")
    if "code" not in answer:
        raise _refused(answer.get("error_description") or answer.get("error", "there is no code"))


def _unbelievable(error: object) -> Invalid:
    return _refused(f"the provider's ID token is not valid ({error})")


def _refused(why: object) -> Invalid:
    return Invalid(f"The login did not succeed: {why}.", code="login_refused", status=401)
