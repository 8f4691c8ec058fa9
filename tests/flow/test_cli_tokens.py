"""`perdure tokens`: on the database before there is a server, and through the server afterwards."""

import asyncio
import json

import pytest

from perdure.cli import main
from tests.world.server import Server

CONFIG = '[auth]\nmode = "token"\n\n[agents.guide]\nhandler = "guide"\nwords_per_s = 2000.0\n'


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path, CONFIG)
    yield server
    server.end()


def made(capsys, place, *flags):
    assert main(["tokens", "create", "laptop", *flags, *place]) == 0
    return capsys.readouterr().out.strip()


def test_tokens_from_the_first_to_the_revoked(server, monkeypatch, capsys):
    monkeypatch.delenv("PERDURE_TOKEN", raising=False)
    here = ["--config", str(server.config), "--data-dir", str(server.data)]
    scopes = [word for scope in ("read", "write", "admin") for word in ("--scope", scope)]
    olgas = made(capsys, here, "--user", "olga", *scopes)
    asyncio.run(server.start())
    there = ["--url", server.url]

    assert main(["agents", *there]) == 2
    assert "Nobody is signed in" in capsys.readouterr().err
    assert main(["tokens", "list", *here]) == 2
    assert "--url" in capsys.readouterr().err, "the file is the server's; the way to go is told"

    monkeypatch.setenv("PERDURE_TOKEN", olgas)
    anns = made(capsys, there, "--user", "ann", "--days", "30")
    monkeypatch.setenv("PERDURE_TOKEN", anns)
    assert main(["ask", "What is a lease?", "--json", *there]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "completed"
    assert main(["tokens", "create", "x", "--user", "bob", *there]) == 2
    assert "Only admins" in capsys.readouterr().err

    monkeypatch.setenv("PERDURE_TOKEN", olgas)
    assert main(["tokens", "list", "--user", "ann", "--json", *there]) == 0
    (token,) = json.loads(capsys.readouterr().out)
    assert (token["name"], token["scopes"]) == ("laptop", ["read", "write"])
    assert token["used_at"] is not None
    assert main(["tokens", "revoke", token["id"], *there]) == 0
    assert main(["tokens", "revoke", token["id"], *there]) == 2
    monkeypatch.setenv("PERDURE_TOKEN", anns)
    capsys.readouterr()
    assert main(["agents", *there]) == 2
    assert "not known here" in capsys.readouterr().err


def test_a_scope_that_is_none_and_a_token_of_nobody_are_refused(server, capsys):
    """Guard: the look at both names in `keyring.make_token`; `--user "$WHO"` may be empty."""
    here = ["--config", str(server.config), "--data-dir", str(server.data)]
    for name, user in (("x", ""), (" ", "ann")):
        assert main(["tokens", "create", name, "--user", user, *here]) == 2
        told = capsys.readouterr()
        assert "needs a name" in told.err
        assert not told.out
    assert main(["tokens", "create", "x", "--user", "a", "--scope", "root", *here]) == 2
    assert "read, write, admin" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["list"], ["revoke", "tok_x"]])
def test_in_the_wrong_folder_there_is_no_database_and_none_is_made(tmp_path, capsys, words):
    """Guard: `must_exist`; an empty list would say that nobody has a token."""
    assert main(["tokens", *words, "--data-dir", str(tmp_path)]) == 2
    assert "There is no database" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]
