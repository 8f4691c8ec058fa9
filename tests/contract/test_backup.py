"""Backups of a SQLite file: judged before they count, put back without losing what was there."""

import shutil
from contextlib import closing
from typing import Any

import apsw
import pytest

from perdure.errors import Invalid, NotFound, Unavailable
from perdure.stores.sqlite import SqliteStore, backup
from tests.contract.stores import begin, complete, sound


@pytest.fixture
async def store(tmp_path):
    made = SqliteStore(tmp_path / "data" / "perdure.db")
    await made.open()
    yield made
    await made.close()


async def test_a_backup_has_what_was_committed_and_not_what_came_later(store, tmp_path):
    done, running = await begin(store), await begin(store)
    await complete(store, done)
    await store.append([running.say("so far")])
    target = tmp_path / "copy.db"
    assert backup.back_up(store.db.path, target) == {"chats": 2, "messages": 4, "requests": 2}
    await store.append([running.say(" and more")])
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == ["copy.db"]
    assert target.stat().st_mode & 0o077 == 0, "nobody else reads it; guard: `make_private`"
    copy = SqliteStore(target)
    await copy.open()
    assert (await sound(copy, done.id)).text() == "Because."
    assert (await sound(copy, running.id)).text() == "so far"
    await copy.close()


async def test_a_backup_overwrites_nothing_and_leaves_nothing_behind(store, tmp_path):
    target = tmp_path / "there.db"
    target.write_text("mine")
    with pytest.raises(Invalid):
        backup.back_up(store.db.path, target)
    with pytest.raises(Invalid):
        backup.back_up(tmp_path / "nothing.db", tmp_path / "copy.db")
    with pytest.raises(Unavailable):
        backup.back_up(store.db.path, tmp_path / "no folder" / "copy.db")
    assert target.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "there.db"]


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM segment WHERE first = 0",
        "UPDATE request SET next_sequence = next_sequence + 1",
    ],
)
async def test_a_log_with_gaps_is_no_backup(store, tmp_path, damage):
    """Guard: the copy is judged before it gets its name."""
    await complete(store, await begin(store))
    await store.db.write(lambda: store.db.all(damage))
    with pytest.raises(Unavailable) as refused:
        backup.back_up(store.db.path, tmp_path / "copy.db")
    assert refused.value.code == "backup_damaged"
    assert not [*tmp_path.glob("copy*")]


async def test_a_torn_file_is_not_restored(store, tmp_path):
    """Guard: the backup is judged before the database is set aside."""
    for _ in range(20):
        await complete(store, await begin(store), "x" * 10_000)
    target = tmp_path / "copy.db"
    backup.back_up(store.db.path, target)
    await store.close()
    before = store.db.path.read_bytes()
    with target.open("r+b") as file:
        file.seek(target.stat().st_size // 2)
        file.write(b"\xff" * 20_000)
    with pytest.raises((Unavailable, apsw.Error)):
        backup.restore(target, store.db.path)
    assert store.db.path.read_bytes() == before


async def test_a_damage_that_no_question_meets_is_found_too(store, tmp_path):
    """Guard: SQLite's own check; all that is asked of the copy besides succeeds."""
    await complete(store, await begin(store))
    target = tmp_path / "copy.db"
    backup.back_up(store.db.path, target)
    with closing(apsw.Connection(str(target))) as copy:
        wanted = "SELECT rootpage FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'webhook'"
        found: Any = copy.execute(wanted).fetchall()
        page = found[0][0]
        found = copy.execute("PRAGMA page_size").fetchall()
        size = found[0][0]
    with target.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(size))
    with pytest.raises(Unavailable) as refused:
        backup.judge(target)
    assert refused.value.code == "backup_damaged"


async def test_nothing_is_restored_under_a_running_server(store, tmp_path):
    """Guard: the lock of the file."""
    target = tmp_path / "copy.db"
    backup.back_up(store.db.path, target)
    with pytest.raises(Unavailable) as refused:
        backup.restore(target, store.db.path)
    assert refused.value.code == "database_locked"


async def test_what_a_restore_replaces_is_kept_as_a_crash_left_it(store, tmp_path):
    """Guard: the write-ahead log is set aside with its file; what is in no file yet is in there.

    Beside the file that takes its place it would be read as that one's own.
    """
    pen = await begin(store)
    target = tmp_path / "copy.db"
    backup.back_up(store.db.path, target)
    late = await begin(store)
    crashed = tmp_path / "crashed"
    shutil.copytree(store.db.path.parent, crashed, ignore=shutil.ignore_patterns("*.lock"))
    assert (crashed / "perdure.db-wal").stat().st_size
    _, kept = backup.restore(target, crashed / "perdure.db")
    assert kept is not None
    there, old = SqliteStore(crashed / "perdure.db"), SqliteStore(kept)
    await there.open()
    assert (await there.request(pen.id)).id == pen.id
    with pytest.raises(NotFound):
        await there.request(late.id)
    await there.close()
    await old.open()
    assert (await old.request(late.id)).id == late.id
    await old.close()
