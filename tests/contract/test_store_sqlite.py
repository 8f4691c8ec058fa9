"""What only the SQLite adapter promises: one owner, its files after a crash, a disk that fails."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import subprocess
import sys
import time
from pathlib import Path

import apsw
import msgspec
import pytest

from perdure.errors import Unavailable
from perdure.model import Status
from perdure.stores.sqlite import SqliteStore, database, migrations
from perdure.stores.sqlite import log as log_module
from perdure.stores.sqlite.backup import back_up, restore
from tests.contract.stores import (
    RUN,
    Pen,
    always_again,
    ask,
    begin,
    complete,
    copy_files,
    sound,
    take,
    whole,
)
from tests.world.waiting import eventually

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024
KILLS = 12
KILLS_S = 15


@contextlib.asynccontextmanager
async def opened(path, synchronous="normal"):
    store = SqliteStore(path, synchronous)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def sqlite(tmp_path):
    async with opened(tmp_path / "perdure.db") as store:
        yield store


def remembered(store):
    """Return what the store keeps in memory about running requests."""
    return {
        key: (live.claim_id, live.next, live.hot_first, list(live.hot))
        for key, live in store.log.live.items()
    }


def memory_is_the_file(store):
    """Check that memory holds exactly what a new start would find."""
    before = remembered(store)
    store.log.recover()
    assert remembered(store) == before


# One owner


def start_writer(path):
    command = [sys.executable, "-m", "tests.contract.writer", str(path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


async def test_a_second_process_is_refused_with_a_sentence(tmp_path):
    """Guard: the file lock; it goes with the process, however that ends."""
    path = tmp_path / "perdure.db"
    with start_writer(path) as process:
        with pytest.raises(Unavailable) as refused:
            await SqliteStore(path).open()
        assert refused.value.code == "database_locked"
        assert str(path) in refused.value.detail
        process.kill()
    async with opened(path):
        pass


async def test_a_second_store_in_this_process_is_refused_and_harms_nothing(sqlite):
    """The lock belongs to a store, not to a process; the first one goes on."""
    pen = await begin(sqlite)
    with pytest.raises(Unavailable):
        await SqliteStore(sqlite.db.path).open()
    await complete(sqlite, pen)


async def test_a_store_that_was_closed_opens_again(sqlite):
    """The same object too, with its checkpoints."""
    request = await ask(sqlite)
    await sqlite.close()
    await sqlite.close()
    await sqlite.open()
    assert await sqlite.request(request.id) == request
    assert sqlite.db._thread.is_alive()


async def test_a_folder_that_cannot_be_used_is_told(tmp_path):
    """A start that fails says which path and what to do."""
    (tmp_path / "perdure.db.lock").mkdir()
    with pytest.raises(Unavailable) as refused:
        await SqliteStore(tmp_path / "perdure.db").open()
    assert refused.value.code == "data_dir_unusable"


async def test_a_file_that_is_no_database_is_refused_and_unlocked(tmp_path):
    """The lock does not outlive a failed start, and nothing is overwritten."""
    path = tmp_path / "perdure.db"
    path.write_bytes(b"something else entirely" * 1000)
    for _ in range(2):
        with pytest.raises(Unavailable) as refused:
            await SqliteStore(path).open()
        assert refused.value.code != "database_locked"
    assert path.read_bytes() == b"something else entirely" * 1000


# Crashes


async def judge(path, shown, ended):
    """Open what a killed process left, and check all that it had acknowledged."""
    async with opened(path) as store:
        for request_id, number in shown.items():
            folded = await sound(store, request_id)
            assert folded.sequence_number >= number
        for request_id in ended:
            assert (await store.request(request_id)).status is Status.COMPLETED
        for request_id in shown.keys() - set(ended):
            if (await store.request(request_id)).status is Status.STREAMING:
                await store.cancel(request_id)
                await sound(store, request_id)


@pytest.mark.timeout(90)
async def test_kill_9_at_random_instants_loses_nothing_that_was_acknowledged(tmp_path, rng, soak):
    """Promise: what a method returned survives. The instants are random, the files go on."""
    path, began = tmp_path / "perdure.db", time.monotonic()
    for kill in range(200 if soak else KILLS):
        shown, ended = {}, []
        with start_writer(path) as process:
            stop = time.monotonic() + rng.uniform(0.02, 0.4)
            for line in process.stdout:
                request_id, fact = line.split()
                if fact == "end":
                    ended.append(request_id)
                else:
                    shown[request_id] = int(fact)
                if time.monotonic() > stop:
                    process.kill()
        assert shown
        await judge(path, shown, ended)
        if kill and time.monotonic() - began > KILLS_S and not soak:
            break


async def test_a_copy_at_any_instant_opens_with_all_that_was_committed_by_then(sqlite, tmp_path):
    """The file and its log are whole after each commit, whatever the checkpoints do meanwhile."""
    pens = [await begin(sqlite) for _ in range(3)]
    for step in range(12):
        await sqlite.append([pen.say("x" * (3000 * step + 1)) for pen in pens])
        if step % 4 == 3:
            sqlite.db.writer.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        before = [await whole(sqlite, pen.id) for pen in pens]
        folder = tmp_path / f"copy-{step}"
        folder.mkdir()
        copy_files(sqlite.db.path, folder / "perdure.db")
        async with opened(folder / "perdure.db") as copy:
            assert [await whole(copy, pen.id) for pen in pens] == before
            assert remembered(copy).keys() == remembered(sqlite).keys()


async def test_a_copy_within_a_transaction_holds_nothing_of_it(sqlite, tmp_path):
    """Guard: one transaction for events, claim, row and message."""
    pen = await begin(sqlite)
    await sqlite.append([pen.say("before")])
    before = await whole(sqlite, pen.id)
    alone = asyncio.ensure_future(sqlite.db.write(lambda: None))  # the first of a turn
    finish = asyncio.ensure_future(sqlite.finish(*pen.end()))
    copied = asyncio.ensure_future(sqlite.db.write(lambda: copy_all(sqlite.db.path, tmp_path)))
    await asyncio.gather(alone, finish, copied)
    async with opened(tmp_path / "copy" / "perdure.db") as copy:
        assert await whole(copy, pen.id) == before
        assert (await copy.request(pen.id)).status is Status.STREAMING
        assert (await copy.messages(pen.chat_id, "ann"))[-1].text == ""
    assert (await sqlite.request(pen.id)).status is Status.COMPLETED


def copy_all(path, tmp_path):
    (tmp_path / "copy").mkdir()
    copy_files(path, tmp_path / "copy" / "perdure.db")


async def test_a_torn_last_write_of_the_log_costs_only_what_was_not_acknowledged(
    sqlite, tmp_path, rng
):
    """Power loss in mid-write: whatever the cut leaves of the last commits is a prefix."""
    pen = await begin(sqlite)
    for piece in range(30):
        await sqlite.append([pen.say(f"{piece} " * 50)])
    events = await whole(sqlite, pen.id)
    copy_all(sqlite.db.path, tmp_path)
    wal = (tmp_path / "copy" / "perdure.db-wal").read_bytes()
    for cut in range(5):
        folder = tmp_path / f"cut-{cut}"
        folder.mkdir()
        copy_files(tmp_path / "copy" / "perdure.db", folder / "perdure.db")
        torn = wal[: rng.randrange(len(wal) // 2, len(wal))] + rng.randbytes(3000)
        (folder / "perdure.db-wal").write_bytes(torn)
        async with opened(folder / "perdure.db") as copy:
            if pen.id in copy.log.live:
                kept = await whole(copy, pen.id)
                assert events[: len(kept)] == kept


# Bounded files


async def test_the_journal_is_emptied_while_slow_and_fast_answers_run(sqlite, monkeypatch):
    """Guard: old events move to segments, so that a slow answer holds back nobody's removal."""
    monkeypatch.setattr(log_module, "SEGMENT_AGE_S", 0.0)
    slow, fast = await begin(sqlite), await begin(sqlite)
    rows = []
    for step in range(200):
        await sqlite.append([fast.say("f" * 1000)])
        if step % 50 == 0:
            await sqlite.append([slow.say("s")])
        if step % 20 == 19:
            await sqlite.prune(events_s=0, requests_s=0, chats_s=0)
            rows.append(sqlite.db.one("SELECT count(*) FROM journal")[0])
    assert max(rows) <= 2, rows
    for pen in (slow, fast):
        await sound(sqlite, pen.id)
        await complete(sqlite, pen)


async def test_a_busy_answer_leaves_the_journal_in_segments(sqlite):
    """Guard: at 64 KiB an answer's events get a row of their own, without any upkeep."""
    pen = await begin(sqlite)
    for _ in range(40):
        await sqlite.append([pen.say("x" * 8 * 1024)])
    live = sqlite.log.live[pen.id]
    assert live.hot_bytes < 2 * log_module.SEGMENT_BYTES
    assert sqlite.db.one("SELECT count(*) FROM segment WHERE request_id = ?", pen.id)[0] >= 4


async def test_the_write_ahead_log_stays_bounded_under_sustained_writing(tmp_path, monkeypatch):
    """Guard: the writer finishes what the thread has nearly copied, and the log begins anew.

    80 MB are written without a pause: with the guard off they all lie in the log.
    """
    monkeypatch.setattr(database, "WAL_BYTES_MAX", MIB)
    monkeypatch.setattr(database, "CHECKPOINT_EVERY_S", 0.01)
    path = tmp_path / "perdure.db"
    async with opened(path) as store:
        pen = await begin(store)
        for _ in range(400):
            await store.append([pen.say("x" * 100_000)])
            await asyncio.sleep(0)
        size = Path(f"{path}-wal").stat().st_size  # noqa: ASYNC240
        assert size <= 60 * MIB
        await complete(store, pen)


async def test_checkpoints_that_fail_for_a_while_are_two_lines(tmp_path, monkeypatch, caplog):
    """Guard: a full disk fails one each second, and what told of each would fill it more."""
    monkeypatch.setattr(database, "CHECKPOINT_EVERY_S", 0.001)
    checkpoint, full, tries = database._checkpoint, True, 0

    def moody(connection):
        nonlocal tries
        tries += 1
        if full:
            raise apsw.FullError("full")
        return checkpoint(connection)

    async def many():
        return tries > 20

    async def over():
        return len(caplog.records) == 2

    monkeypatch.setattr(database, "_checkpoint", moody)
    async with opened(tmp_path / "perdure.db"):
        await eventually(many, within_s=10, what="many tries have failed")
        full = False
        await eventually(over, within_s=10, what="it is over")
    assert [one.getMessage() for one in caplog.records] == [
        "copying the log into the file fails, will try again: full",
        "copying the log into the file works again after 0 s",
    ]


def test_the_write_ahead_log_begins_anew_in_a_calm_moment():
    """Guard: `restart_due`; right after a burst all answers would stand still for 30 to 50 ms."""
    long = database.WAL_BYTES_MAX // database.PAGE_BYTES + 1
    assert database.restart_due(long, meanwhile=0)
    assert not database.restart_due(long, meanwhile=database.CALM_FRAMES)
    assert not database.restart_due(long - 1, meanwhile=0)
    assert database.restart_due(2 * long, meanwhile=database.CALM_FRAMES)


async def test_nothing_lies_beside_the_file_after_a_clean_end(tmp_path):
    """A closed file is one file: it can be copied as it is."""
    path = tmp_path / "perdure.db"
    async with opened(path) as store:
        await complete(store, await begin(store))
    assert not [p.name for p in tmp_path.iterdir() if p.name.endswith(("-wal", "-shm"))]


# Failures of the disk


@contextlib.contextmanager
def failing(connection, error, when):
    """Let each statement that contains `when` fail, as a disk would."""

    def trace(_cursor, sql, _bindings):
        if when in sql:
            raise error
        return True

    connection.exec_trace = trace
    yield
    connection.exec_trace = None


@pytest.mark.parametrize("when", ["COMMIT", "INSERT INTO segment", "UPDATE"])
@pytest.mark.parametrize("error", [apsw.FullError("full"), apsw.IOError("disk")])
async def test_a_failed_write_is_told_to_all_and_leaves_memory_as_the_file_is(sqlite, when, error):
    """Guard: the rollback takes memory back too; the same writes succeed once the disk is well."""
    pens = [await begin(sqlite) for _ in range(3)]
    waiting = await ask(sqlite)
    await sqlite.append([pen.say("before ") for pen in pens])
    logs = [await whole(sqlite, pen.id) for pen in pens]
    appends, ending = [pen.say("x" * 70_000) for pen in pens[:2]], pens[2].end()
    attempts = [
        lambda: sqlite.append(appends),
        lambda: sqlite.finish(*ending),
        lambda: sqlite.cancel(waiting.id),
        lambda: sqlite.hand_over(pens[0].id, "claim_none"),
    ]
    with failing(sqlite.db.writer, error, when):
        done = await asyncio.gather(*(one() for one in attempts), return_exceptions=True)
    assert all(isinstance(one, Unavailable) for one in done[:3]), done
    memory_is_the_file(sqlite)
    assert [await whole(sqlite, pen.id) for pen in pens] == logs
    assert (await sqlite.request(waiting.id)).status is Status.QUEUED
    assert await sqlite.append(appends) == [True, True]
    assert await sqlite.finish(*ending)
    memory_is_the_file(sqlite)
    for pen in pens:
        await sound(sqlite, pen.id)


async def test_a_full_disk_refuses_and_then_goes_on(sqlite):
    """`disk_full`: no partial transaction; what is there can be read."""
    pen = await begin(sqlite)
    await sqlite.append([pen.say("before ")])
    log = await whole(sqlite, pen.id)
    pages = sqlite.db.one("PRAGMA page_count")[0]
    sqlite.db.all(f"PRAGMA max_page_count = {pages}")
    big = pen.say("x" * MIB)
    with pytest.raises(Unavailable) as refused:
        await sqlite.append([big])
    assert refused.value.code == "disk_full"
    assert refused.value.retryable
    memory_is_the_file(sqlite)
    assert await whole(sqlite, pen.id) == log
    sqlite.db.all(f"PRAGMA max_page_count = {pages + 100_000}")
    assert await sqlite.append([big]) == [True]
    await complete(sqlite, pen)
    await sound(sqlite, pen.id)


async def test_a_lone_write_waits_for_no_turn_of_the_loop_and_many_share_a_commit(sqlite):
    """Guards: `write` commits the first of a turn at once; `_end_turn` commits the others."""
    turns: list[int] = []
    asyncio.get_running_loop().call_soon(turns.append, 1)
    await sqlite.db.write(lambda: None)
    assert turns == []
    await asyncio.sleep(0)
    commits: list[int] = []

    def hook() -> bool:
        commits.append(1)
        return False

    sqlite.db.writer.set_commit_hook(hook)
    step = "INSERT INTO unindexed VALUES (?)"
    await asyncio.gather(
        *(sqlite.db.write(functools.partial(sqlite.db.all, step, -n)) for n in range(1, 20))
    )
    assert len(commits) == 2


async def test_one_broken_piece_of_work_harms_nobody_in_its_commit(sqlite):
    """Guard: a savepoint for each piece, in the file and in memory."""
    pen, other = await begin(sqlite), await begin(sqlite)

    def broken():
        sqlite._end(pen.id, Status.CANCELLED)
        raise ZeroDivisionError

    alone = sqlite.db.write(lambda: None)  # the first of a turn; the others share a commit
    good, bad = sqlite.finish(*other.end()), sqlite.db.write(broken)
    done = await asyncio.gather(alone, good, bad, return_exceptions=True)
    assert done[1] is True
    assert isinstance(done[2], ZeroDivisionError)
    memory_is_the_file(sqlite)
    await complete(sqlite, pen)
    for request_id in (pen.id, other.id):
        assert (await sound(sqlite, request_id)).status is Status.COMPLETED


async def test_what_cannot_be_stored_beside_an_append_takes_no_event_with_it(sqlite):
    """Guard: memory goes back when a later statement of the same append fails."""
    pen = await begin(sqlite)
    first = pen.say("so far")
    with pytest.raises(UnicodeEncodeError):
        await sqlite.append([msgspec.structs.replace(first, trace_id="\ud800")])
    memory_is_the_file(sqlite)
    assert await sqlite.append([first]) == [True]
    await complete(sqlite, pen)


async def test_a_failed_sync_is_fatal(sqlite):
    """A second try can falsely succeed: nothing may be acknowledged after it."""
    stopped: list[BaseException] = []
    sqlite.db.on_fatal = stopped.append
    error = apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)
    pen = await begin(sqlite)
    with failing(sqlite.db.writer, error, "COMMIT"), pytest.raises(Unavailable):
        await sqlite.append([pen.say("x")])
    assert stopped == [error]


async def test_a_rollback_that_fails_is_fatal(sqlite):
    """Memory that cannot be compared with the file any more could use a number twice."""
    stopped: list[BaseException] = []
    sqlite.db.on_fatal = stopped.append
    pen = await begin(sqlite)

    def trace(_cursor, sql, _bindings):
        if sql in ("COMMIT", "ROLLBACK"):
            raise apsw.IOError(sql)
        return True

    sqlite.db.writer.exec_trace = trace
    with pytest.raises(Unavailable):
        await sqlite.append([pen.say("x")])
    sqlite.db.writer.exec_trace = None
    assert len(stopped) == 1
    sqlite.db.writer.execute("ROLLBACK")
    sqlite.log.recover()


async def test_a_failed_read_is_told_as_ours(sqlite):
    """Foreign errors are turned into ours at the adapter's edge."""
    pen = await begin(sqlite)
    with failing(sqlite.db.reader, apsw.IOError("disk"), "SELECT"):
        for attempt in (
            lambda: sqlite.request(pen.id),
            lambda: sqlite.read({pen.id: -1}, 1000),
            lambda: sqlite.requests("ann"),
            lambda: sqlite.chats("ann"),
            sqlite.positions,
        ):
            with pytest.raises(Unavailable):
                await attempt()
    await complete(sqlite, pen)


async def test_a_caller_that_gives_up_disturbs_nobody_in_its_commit(sqlite):
    """A cancelled request of a client is still written or not written as a whole."""
    pen = await begin(sqlite)
    impatient = asyncio.ensure_future(ask(sqlite))
    patient = asyncio.ensure_future(sqlite.finish(*pen.end()))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient
    assert (await sqlite.counts())["queued"] in (0, 1)


# Settings and schema


@pytest.mark.parametrize(("synchronous", "level"), [("full", 2), ("normal", 1)])
async def test_the_durability_that_was_asked_for_is_in_force(tmp_path, synchronous, level):
    """`full` survives power loss: each commit is synced."""
    async with opened(tmp_path / "perdure.db", synchronous) as store:
        assert store.db.one("PRAGMA synchronous")[0] == level
        assert store.db.one("PRAGMA journal_mode")[0] == "wal"
        told = await store.check()
        assert told["synchronous"] == synchronous
        assert told["engine"] == "sqlite"
        assert told["schema"] == migrations.numbered()[-1].number


async def test_readers_cannot_write(sqlite):
    """Guard: `query_only`; only one connection writes."""
    with pytest.raises(Unavailable):
        sqlite.db.look("DELETE FROM request")


async def test_each_migration_is_applied_once(tmp_path):
    """A second start changes nothing."""
    path = tmp_path / "perdure.db"
    applied = []
    for _ in range(2):
        async with opened(path) as store:
            applied.append(store.db.all("SELECT * FROM migration"))
    assert applied[0] == applied[1]
    assert len(applied[0]) == len(migrations.numbered())


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("UPDATE migration SET checksum = 'other'", "schema_changed"),
        ("INSERT INTO migration VALUES (9999, '9999_later.sql', 'x', 0)", "schema_too_new"),
    ],
)
async def test_a_schema_that_is_not_ours_stops_the_start(tmp_path, damage, code):
    """Guard: numbers and checksums; an older program must not write into a newer file."""
    path = tmp_path / "perdure.db"
    async with opened(path) as store:
        store.db.all(damage)
    for _ in range(2):
        with pytest.raises(Unavailable) as refused:
            await SqliteStore(path).open()
        assert refused.value.code == code


async def test_what_is_no_database_of_ours_is_refused_with_a_sentence(tmp_path):
    """Guard: each is told before anything in it is changed; an operator reads no traceback."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "noise.db").write_bytes(b"noise" * 5000)
    with contextlib.closing(apsw.Connection(str(tmp_path / "other.db"))) as other:
        other.execute("CREATE TABLE chat (x)")
    for path, said in (
        (tmp_path / "file" / "perdure.db", "Cannot use the folder"),
        (tmp_path / "noise.db", "no SQLite database"),
        (tmp_path / "other.db", "tables of something else"),
    ):
        store = SqliteStore(path)
        with pytest.raises(Unavailable, match=said):
            await store.open()
        await store.close()


async def test_a_damaged_file_is_told_with_what_to_do_and_let_go(tmp_path):
    """Guard: a start that fails leaves no lock behind, and tells no traceback."""
    path = tmp_path / "perdure.db"
    async with opened(path) as store:
        await begin(store)
        store.db.all("UPDATE journal SET data = x'c1'")
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"damaged.*backup") as refused:
            await SqliteStore(path).open()
        assert refused.value.code == "database_damaged"


async def test_a_file_that_is_found_damaged_takes_no_more_questions(tmp_path, caplog):
    """Guard: `Database.damage`; the write by which `check` proves that it can touches no table."""
    path = tmp_path / "perdure.db"
    async with opened(path) as store:
        await ask(store)
    content = bytearray(path.read_bytes())
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = 'message'"
        root = int(str(connection.execute(query).fetchall()[0][0]))
    content[(root - 1) * 4096 : root * 4096] = b"\xa5" * 4096
    path.write_bytes(content)
    async with opened(path) as store:
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"damaged.*put a backup in its place"):
                await ask(store)
        with pytest.raises(Unavailable) as not_ready:
            await store.check()
    assert not_ready.value.code == "database_damaged"
    assert sum("is damaged" in one.getMessage() for one in caplog.records) == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [(apsw.FullError("full"), "disk_full"), (apsw.IOError("disk I/O error"), "store_unavailable")],
)
async def test_a_disk_that_fails_at_the_start_is_no_damaged_file(
    tmp_path, monkeypatch, error, code
):
    """Guard: only `CorruptError` is damage; else a backup would take a whole file's place."""

    def failing(_self):
        raise error

    monkeypatch.setattr(log_module.Log, "recover", failing)
    with pytest.raises(Unavailable) as refused:
        await SqliteStore(tmp_path / "perdure.db").open()
    assert refused.value.code == code
    assert "backup" not in refused.value.detail


async def test_nobody_else_on_the_machine_may_read_the_file(tmp_path):
    """Guard: `make_private`; SQLite itself would leave it to the umask."""
    path = tmp_path / "perdure.db"
    async with opened(path) as store:
        await ask(store)
        back_up(path, tmp_path / "copy.db")
        found = {one.name: one.stat().st_mode & 0o077 for one in tmp_path.iterdir()}
    assert len(found) >= 4
    assert not any(found.values()), found


async def test_root_gives_away_what_it_makes(tmp_path, monkeypatch):
    """Guard: the calls of `give`, whoever runs this; the real thing is root's, below."""
    given = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda file, uid, gid: given.append((str(file), uid, gid)))
    path, owner = tmp_path / "perdure.db", (tmp_path.stat().st_uid, tmp_path.stat().st_gid)
    async with opened(path):
        assert len(given) >= 2, "the file and its lock"
    back_up(path, tmp_path / "copy")
    given.clear()
    restore(tmp_path / "copy", path)
    assert given
    assert all(one[1:] == owner for one in given)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_what_root_makes_belongs_to_whoever_has_the_folder_or_the_file(tmp_path):
    """Guard: `give`; after a restore by root the service could not open its own file."""
    folder, other = tmp_path / "data", 65534
    folder.mkdir()
    os.chown(folder, other, other)
    async with opened(folder / "perdure.db"):
        assert {file.stat().st_uid for file in folder.iterdir()} == {other}
    back_up(folder / "perdure.db", tmp_path / "copy")
    os.chown(folder / "perdure.db", 65533, 65533)
    restore(tmp_path / "copy", folder / "perdure.db")
    assert (folder / "perdure.db").stat().st_uid == 65533


async def test_a_file_of_somebody_else_is_told_with_its_owner(tmp_path, monkeypatch):
    """Guard: `refuse_foreign`; SQLite only says that it is unable to."""
    async with opened(tmp_path / "perdure.db"):
        pass
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(
        Unavailable, match=r"perdure.db: it belongs to \w+: chown it to \w+\."
    ) as it:
        await SqliteStore(tmp_path / "perdure.db").open()
    assert it.value.code == "data_dir_unusable"


async def test_a_running_request_goes_on_after_a_start_under_its_claim(tmp_path):
    """Recovery: claim, next number and the events that lie in no segment."""
    path = tmp_path / "perdure.db"
    async with opened(path) as store:
        pen = await begin(store)
        await store.append([pen.say("x" * 100_000)])
        await store.append([pen.say("hot")])
        await store.hand_over(pen.id, pen.claim.claim_id)
        pen = Pen(await take(store, pen.id))
        await store.append([pen.say("so far ")])
        before = remembered(store)
    async with opened(path) as store:
        assert remembered(store) == before
        await complete(store, pen, "and on")
        assert (await sound(store, pen.id)).text() == "so far and on"
        assert await store.admit(RUN) == []


@pytest.mark.parametrize("leap_s", [3_600, -3_600])
async def test_a_leap_of_the_machines_clock_ends_no_lease(sqlite, monkeypatch, leap_s):
    """Guard: `steady_time`; the only process there is would take its own answers over."""
    await begin(sqlite)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + leap_s)
    assert await sqlite.reap(always_again) == []
    monkeypatch.undo()
    assert await sqlite.reap(always_again) == []
