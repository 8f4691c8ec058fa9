"""What an OpenID provider says is believed only when all of it fits; a real one tells no lies."""

import time

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey

from perdure import openid
from perdure.errors import Invalid
from perdure.logins import Journey
from perdure.sections import Oidc

ISSUER, NONCE = "https://id.example", "n" * 32
JOURNEY = Journey(state="s", nonce=NONCE, verifier="v", next="/", redirect_uri="https://a/cb")
KEY, OTHER = (ECKey.generate_key("P-256", {"kid": "k"}, auto_kid=False) for _ in "12")
CLAIMS = {"iss": ISSUER, "aud": "perdure", "sub": "ann", "nonce": NONCE}


@pytest.fixture
def provider():
    """Know the metadata and the keys already."""
    made = openid.OpenIdProvider(Oidc(issuer=ISSUER, client_id="perdure"))
    made._metadata = {"issuer": ISSUER}
    made._keys, made._keys_at = KeySet([KEY]), time.monotonic()
    return made


def signed(key=KEY, alg="ES256", kid="k", **changes):
    given = {**CLAIMS, "exp": time.time() + 600, **changes}
    claims = {name: value for name, value in given.items() if value is not None}
    return jwt.encode({"alg": alg, "kid": kid}, claims, key, algorithms=[alg])


async def test_an_id_token_that_fits_is_believed(provider):
    """The control of the test below."""
    for more in ({}, {"aud": ["perdure", "other"], "azp": "perdure"}):
        assert (await provider._believed(signed(**more), NONCE))["sub"] == "ann"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"azp": "other", "aud": ["perdure", "other"]},
        {"exp": 1},
        {"exp": None},
        {"nonce": "x" * 32},
        {"nonce": None},
        {"sub": None},
    ],
    ids=str,
)
async def test_an_id_token_with_another_claim_is_refused(provider, changes):
    """Guard: each line of the registry in `_believed`, and `azp`."""
    with pytest.raises(Invalid) as refused:
        await provider._believed(signed(**changes), NONCE)
    assert refused.value.code == "login_refused"


async def test_an_id_token_that_somebody_else_signed_is_refused(provider):
    """Guard: the signature; and `ALGORITHMS`: what everybody may read is no secret."""
    shown = OctKey.import_key("a" * 32, {"kid": "shown"})
    provider._keys = KeySet([KEY, shown])
    by_a_shown_one = signed(shown, "HS256", kid="shown")
    for forged in (signed(OTHER), by_a_shown_one, f"{signed()[:-9]}AAAAAAAAA", ""):
        with pytest.raises(Invalid):
            await provider._believed(forged, NONCE)


@pytest.mark.parametrize(
    "answer",
    [
        {"code": "c"},
        {"code": "c", "state": "other"},
        {"code": "c", "state": "s", "iss": "https://evil.example"},
        {"state": "s"},
        {"state": "s", "error": "access_denied"},
    ],
    ids=str,
)
def test_an_answer_to_another_question_is_refused(answer):
    """Guard: `_check`: the state, the provider that answers (RFC 9207), a code."""
    openid._check({"code": "c", "state": "s", "iss": ISSUER}, JOURNEY, {"issuer": ISSUER})
    with pytest.raises(Invalid):
        openid._check(answer, JOURNEY, {"issuer": ISSUER})


def test_metadata_of_another_issuer_are_of_no_use():
    """Guard: `_unfit`."""
    fit = {"issuer": ISSUER, **dict.fromkeys(openid.NEEDED, "https://id.example/x")}
    assert openid._unfit(fit, ISSUER) == ""
    assert "calls itself" in openid._unfit(fit | {"issuer": "https://evil.example"}, ISSUER)
    assert "jwks_uri" in openid._unfit({**fit, "jwks_uri": None}, ISSUER)


async def test_what_the_provider_says_of_somebody_else_is_refused(provider):
    """Guard: `sub` in `_told`; and the ID token's claims win."""
    provider._metadata["userinfo_endpoint"] = "https://id.example/me"
    told = {"sub": "ann", "email": "ann@a.example", "name": "not this"}

    async def read(url, headers=None):
        return told

    provider._read = read
    claims = await provider._told({"sub": "ann", "name": "Ann"}, "token")
    assert claims == {"sub": "ann", "email": "ann@a.example", "name": "Ann"}
    told["sub"] = "eve"
    with pytest.raises(Invalid):
        await provider._told({"sub": "ann"}, "token")
