"""People's tokens: shown to nobody by accident, and gone when they are not needed."""

from __future__ import annotations

import copy
import pickle
import traceback

import msgspec
import pytest

from perdure import user_tokens
from perdure.errors import SettingsError
from perdure.ports import Call
from perdure.settings import AgentSettings, Settings, _check
from perdure.user_tokens import UserToken, UserTokens

SECRET = "eyJ-the-secret-of-ann"


def call() -> Call:
    return Call("resp_1", "chat_1", "ann", "a", [], user_token=UserToken(SECRET))


@pytest.mark.parametrize("shown", [repr, str, "{!r}".format])
def test_printing_shows_nothing(shown):
    assert SECRET not in shown(UserToken(SECRET))
    assert SECRET not in shown(call())


@pytest.mark.parametrize("encode", [pickle.dumps, copy.deepcopy, msgspec.json.encode])
def test_no_encoder_takes_it(encode):
    """Guard: `UserToken.__reduce__`; queues and stores encode what they are given."""
    for one in (UserToken(SECRET), call()):
        with pytest.raises(TypeError):
            encode(one)


def test_a_traceback_with_locals_shows_nothing():
    def fail(token):
        raise RuntimeError(token)

    with pytest.raises(RuntimeError) as failed:
        fail(UserToken(SECRET))
    told = traceback.TracebackException.from_exception(failed.value, capture_locals=True)
    text = "".join(told.format())
    assert "UserToken(…)" in text
    assert SECRET not in text


def test_a_token_goes_with_its_request():
    tokens = UserTokens()
    tokens.keep("resp_1", UserToken(SECRET))
    kept = tokens.of("resp_1")
    assert kept is not None
    assert kept.reveal() == SECRET
    assert tokens.of("resp_2") is None
    tokens.drop("resp_1")
    tokens.drop("resp_1")
    assert (tokens.of("resp_1"), len(tokens)) == (None, 0)


def test_a_token_that_is_too_old_counts_no_more(monkeypatch):
    tokens = UserTokens()
    tokens.keep("resp_1", UserToken(SECRET))
    monkeypatch.setattr(user_tokens, "KEPT_S", -1)
    assert tokens.of("resp_1") is None
    tokens.keep("resp_2", UserToken(SECRET))
    assert len(tokens) == 1


def test_workers_and_peoples_tokens_are_refused_together():
    agent = AgentSettings(handler="databricks", endpoint="e", on_behalf_of="always")
    settings = Settings(
        store_url="postgresql://db/x", queue_url="celery+redis://q/0", agents={"a": agent}
    )
    with pytest.raises(SettingsError, match="never go through a queue"):
        _check(settings)
