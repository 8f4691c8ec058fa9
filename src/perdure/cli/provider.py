"""`check` of the OpenID provider: asked what every login asks, and nothing that changes it."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

import httpx2

from perdure.cli.finding import Finding
from perdure.errors import PerdureError, Unavailable
from perdure.model import JSON
from perdure.openid import ALGORITHMS, CLOCK_SKEW_S, OpenIdProvider, keys_in, metadata_url
from perdure.settings import Settings

ABOUT = "OpenID provider"
ANSWER_S = 5.0
SECRET = "PERDURE_AUTH__OIDC__CLIENT_SECRET"  # noqa: S105 - the name of a variable
NOT_OURS = {"invalid_client", "unauthorized_client", "access_denied"}


async def look(settings: Settings) -> list[Finding]:
    """Return what the provider tells, in the order in which a login asks for it."""
    issuer = settings.auth.oidc.issuer
    async with httpx2.AsyncClient(timeout=ANSWER_S) as client:
        try:
            answer = await _read(client, metadata_url(issuer))
            provider = OpenIdProvider(settings.auth.oidc)
            metadata = await provider.known()
        except PerdureError as error:
            hint = "Set auth.oidc.issuer as the provider's own metadata name it, and let it answer."
            return [Finding("wrong", ABOUT, error.detail, hint)]
        return [
            _metadata(metadata),
            _clock(answer.headers.get("date", ""), time.time()),
            await _keys(client, metadata),
            await _login(client, provider, settings),
        ]


async def _read(client: httpx2.AsyncClient, url: str) -> httpx2.Response:
    """Ask; raise `Unavailable` with what went wrong, in more words than people at a login get."""
    try:
        return (await client.get(url)).raise_for_status()
    except httpx2.HTTPStatusError as error:
        raise Unavailable(f"{url} answers {error.response.status_code}.") from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        why = str(error) or type(error).__name__
        raise Unavailable(f"{url} cannot be reached: {why}.") from None


def _metadata(metadata: JSON) -> Finding:
    methods = metadata.get("code_challenge_methods_supported", ["S256"])
    if "S256" not in methods:
        hint = "Logins send it anyway; a provider that ignores it does not prove who began one."
        return Finding("note", ABOUT, f"{metadata['issuer']} does not speak of PKCE (S256)", hint)
    logout = (
        "" if "end_session_endpoint" in metadata else "; signing out ends the session here only"
    )
    return Finding("ok", ABOUT, f"{metadata['issuer']} tells its endpoints{logout}")


def _clock(date: str, now: float) -> Finding:
    """Compare our clock with the one in an answer's `Date`."""
    about = "provider's clock"
    try:
        behind_s = parsedate_to_datetime(date).timestamp() - now
    except ValueError:
        return Finding("note", about, "the provider does not tell the time")
    if abs(behind_s) > CLOCK_SKEW_S:
        detail = f"this machine is {abs(behind_s):.0f} s {'behind' if behind_s > 0 else 'ahead'}"
        hint = f"Set the clocks (NTP): over {CLOCK_SKEW_S} s apart, logins are refused."
        return Finding("wrong", about, detail, hint)
    return Finding("ok", about, f"within {CLOCK_SKEW_S} s of this machine's")


async def _keys(client: httpx2.AsyncClient, metadata: JSON) -> Finding:
    about, url = "provider's keys", metadata["jwks_uri"]
    hint = "No login can be believed without them; see the provider's own log."
    try:
        found = keys_in((await _read(client, url)).json())
    except PerdureError as error:
        return Finding("wrong", about, error.detail, hint)
    except ValueError as error:
        return Finding("wrong", about, f"{url} holds no keys ({error})", hint)
    signs = metadata.get("id_token_signing_alg_values_supported", ALGORITHMS)
    if not set(signs) & set(ALGORITHMS):
        wanted = f"Let it sign with one of {', '.join(ALGORITHMS)}."
        return Finding("wrong", about, f"it signs with {', '.join(signs)} only", wanted)
    return Finding("ok", about, f"{len(found.keys)} at {url}")


async def _login(
    client: httpx2.AsyncClient, provider: OpenIdProvider, settings: Settings
) -> Finding:
    """Begin a login as a browser would, and end one with a code that nobody gave."""
    public, client_id = settings.auth.public_url, settings.auth.oidc.client_id
    about, back = "login", f"{public or 'https://HOST'}{settings.root_path}/auth/callback"
    try:
        refused = await provider.rehearse(back)
        if refused in NOT_OURS:
            hint = f"Check auth.oidc.client_id and the variable {SECRET}."
            return Finding("wrong", about, f"it refuses the client {client_id} ({refused})", hint)
        if not public:
            hint = f"Register {back} there, and name it: auth.public_url = 'https://HOST'"
            return Finding("note", about, f"it knows {client_id}; public_url is not set", hint)
        url, _ = await provider.depart("/", back)
        status = (await client.get(url)).status_code
    except (PerdureError, httpx2.HTTPError) as error:
        detail = error.detail if isinstance(error, PerdureError) else str(error)
        return Finding(
            "wrong", about, detail or type(error).__name__, "See the provider's own log."
        )
    if status >= 400:  # noqa: PLR2004  # HTTP's own number
        hint = f"Register {back} there as a redirect address of {client_id}."
        return Finding("wrong", about, f"it refuses to begin one ({status})", hint)
    return Finding("ok", about, f"it knows {client_id} and {back}")
