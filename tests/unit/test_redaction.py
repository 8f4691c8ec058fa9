"""What looks like a secret is dots, in every log entry; what does not is left alone."""

import io
import logging

import pytest

from perdure.cli import checking
from perdure.credentials import id_in, new_secret
from perdure.handlers import failures
from perdure.logs import JsonLines, TextLines
from perdure.model import new_id
from perdure.redaction import redacted
from perdure.settings import Settings, Webhooks

TOKEN = "perdure_tok_0123456789abcdef0123456789abcdef_" + "Q2x-9" * 8 + "abc"


def test_what_is_made_as_a_secret_is_known_as_one():
    """Guard: the shapes in `redaction` and in `credentials`, which know how long an id is."""
    for noun in ("tok", "ses"):
        credential_id = new_id(noun)
        secret = new_secret(credential_id)
        assert redacted(f"{secret} came") == "… came"
        assert id_in(secret) == credential_id
    assert id_in("perdure_tok_0123456789abcdef01234567_" + "A" * 43)  # from before ids had a time


@pytest.mark.parametrize(
    "text",
    [
        f"refused {TOKEN} of ann",
        "Authorization: Bearer abc.def-ghi",
        "postgresql://perdure:hunter2@db/perdure failed",
        "redis://:hunter2@broker:6379/0",
        "key sk-proj-abcdef123456 is wrong",
        "dapi0123456789abcdef",
        "eyJhbGciOi.eyJzdWIi.c2ln",
        "whsec_MfKQ9r8GKYqrTwjU",
        "/auth/callback?code=Zx81_dQe-2LfW0aa1b&state=xyzxyzxyzxyzxyzxyz",
        "client_secret=hunter2&grant_type=code",
        "perdure_ses_0123456789abcdef01234567_" + "Q2x-9" * 8 + "abc",  # with an older id
    ],
)
def test_a_secret_is_not_shown(text):
    shown = redacted(text)
    assert "…" in shown
    for part in ("hunter2", "abcdef", "ghi", TOKEN[-20:], "MfKQ9", "eyJzdWIi", "Zx81", "xyzxyz"):
        assert part not in shown


@pytest.mark.parametrize(
    "text",
    [
        "resp_2f1c0a9be4d87356ac01f2e3 ended: idle_timeout",
        "http://127.0.0.1:8000/api/chats?q=code",
        "the bearer of bad news",
        "tok_0d1c2b3a4f5e69788796a5b4 was revoked",
        "code=404",
    ],
)
def test_other_words_are_left_alone(text):
    assert redacted(text) == text


@pytest.mark.parametrize("formatter", [TextLines("%(message)s"), JsonLines()])
def test_log_entries_and_tracebacks_show_no_secret(formatter):
    """Guard: both formatters that the server and the worker log with."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(formatter)
    log = logging.getLogger("test.redaction")
    log.addHandler(handler)
    try:
        int("postgresql://perdure:hunter2@db")
    except ValueError:
        log.exception("lost %s", TOKEN)
    finally:
        log.removeHandler(handler)
    assert "Traceback" in written.getvalue()
    assert "hunter2" not in written.getvalue()
    assert TOKEN not in written.getvalue()


def test_what_an_upstream_says_shows_neither_its_key_nor_another_one():
    """Guard: both looks of `failures.clean`: for the agent's own key, and for what is like one."""
    said = "the key our-own of\nann\x1b is not sk-proj-abcdef123456"
    assert failures.clean(said, "our-own") == "the key … of ann is not …"


def test_check_shows_no_setting_that_is_a_secret(tmp_path, monkeypatch, capsys):
    """Guard: `repr=False` on the setting; `without_secrets` in addresses; headers are keys."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "perdure.toml"
    file.write_text(
        'port = 0\n[auth.oidc]\nclient_secret = "hunter2"\n'
        '[webhooks]\nurl = "https://a.example"\nsecret = "whsec_aHVudGVyMg=="\n'
        '[limits]\nrates_url = "redis://:hunter2@127.0.0.1:9/0"\n'
        '[agents.a]\nhandler = "guide"\nheaders = { x-api-key = "hunter2" }\n'
    )
    assert checking.check(file, tmp_path, as_json=False) == 0
    told = capsys.readouterr().out
    assert "hunter2" not in told
    assert "aHVudGVyMg" not in told
    assert told.count("(hidden)") == 3


def test_settings_do_not_show_their_secrets():
    assert "aHVu" not in repr(Settings(webhooks=Webhooks(url="http://a", secret="whsec_aHVu")))
