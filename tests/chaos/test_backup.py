"""Backups made under load are whole, and what is restored goes on where the backup stood."""

import asyncio
import json
import shutil
from contextlib import closing

import apsw
import pytest

from perdure.cli import main
from perdure.errors import Unavailable
from perdure.stores.sqlite import backup
from tests.world.server import Server
from tests.world.world import World, whole


async def run(*words):
    """Run a command of ours beside the servers of the test."""
    return await asyncio.to_thread(main, [*words])


async def load(world, count):
    """Let some answers run, each followed; return how far each is shown."""
    for n in range(count):
        script = {"name": f"load {n} {world.rng.random()}", "chunks": 120, "rate": 60}
        world.follow("sse", await world.ask(script))
    shown = {}
    for request_id in [*world.accepted][-count:]:
        shown[request_id] = (await world.api.shown(request_id, 40))["partial_content"]
    return shown


@pytest.mark.timeout(180)
async def test_a_backup_under_load_restores_to_a_consistent_state(tmp_path, rng):
    """All that was accepted is in it, all that was shown is in it, every log is whole.

    Guards: SQLite's own backup instead of a copied file (see the test below), in one step.
    """
    async with World(tmp_path / "world", rng) as world:
        for round_ in range(3):
            shown = await load(world, 8)
            accepted = [*world.accepted]
            target = tmp_path / f"backup-{round_}.db"
            assert await run("db", "backup", str(target), "--data-dir", str(world.server.data)) == 0
        await world.judge_complete()
        config = world.server.config.read_text("utf-8")
        restored = Server(tmp_path / "restored", config, name="restored")
        flags = ["--data-dir", str(restored.data)]
        assert await run("db", "restore", str(target), *flags) == 0
        try:
            await restored.start()
            api = world.api_of("")
            api.http.base_url = api.url = restored.url
            for request_id in accepted:
                ended = await api.ended(request_id, within_s=60)
                assert ended["status"] == "completed"
                assert ended["final_response"] == whole(world.accepted[request_id]["script"])
                ever = text_of((await api.log(request_id)).events)
                assert ever.startswith(shown.get(request_id, "")), "what was shown stands"
        finally:
            restored.end()


def text_of(events):
    """Return all text that a log ever showed, abandoned attempts first."""
    found = [json.loads(event) for event in events]
    deltas = [event["delta"] for event in found if event["type"] == "response.output_text.delta"]
    return "".join(deltas)


async def test_a_copied_file_of_a_running_server_is_not_what_a_backup_is(tmp_path, rng):
    """The control: `cp` of the file alone misses what lies beside it, and the judge says so."""
    async with World(tmp_path / "world", rng) as world:
        file = world.server.data / "perdure.db"
        with closing(apsw.Connection(str(file))) as someone:
            # As long as somebody looks at the state before it, nothing is copied into the file.
            someone.execute("BEGIN").execute("SELECT count(*) FROM request").fetchall()
            shown = await load(world, 4)
            torn = tmp_path / "torn.db"
            shutil.copyfile(file, torn)
        try:
            contents = backup.judge(torn)
        except (Unavailable, apsw.Error):
            contents = {"requests": 0}
        made = tmp_path / "made.db"
        assert await run("db", "backup", str(made), "--data-dir", str(world.server.data)) == 0
        assert backup.judge(made)["requests"] >= len(shown) > contents["requests"]
        await world.judge_complete()
