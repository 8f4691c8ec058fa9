"""What only the PostgreSQL adapter promises: a server that goes and comes, tokens, plain errors."""

from __future__ import annotations

import asyncio
import contextlib

import asyncpg
import pytest

from perdure.errors import Unavailable
from perdure.model import Status
from perdure.ports import Claim, NewMessage
from perdure.stores import words
from perdure.stores.postgres import Access, PostgresStore, database
from tests import databases
from tests.contract.stores import RUN, Pen, ask, begin, complete, question, sound, take, whole
from tests.world.waiting import eventually


@contextlib.asynccontextmanager
async def opened(url, **changes):
    store = PostgresStore(Access(url=url, **changes))
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def url():
    async with databases.fresh() as made:
        yield made


@pytest.fixture
async def store(url):
    async with opened(url) as made:
        yield made


async def refused(url, **changes):
    with pytest.raises(Unavailable) as failed:
        async with opened(url, **changes):
            pass
    return failed.value


# Plain errors


async def test_a_server_that_is_not_there_is_told(free_port):
    """The sentence names host and port, and never the password."""
    error = await refused(f"postgresql://ann:secret@127.0.0.1:{free_port}/perdure")
    assert error.code == "store_unreachable"
    assert f"127.0.0.1:{free_port}/perdure" in error.detail
    assert "secret" not in error.detail


async def test_a_database_that_is_not_there_is_told(url):
    """The server is there: the name is wrong."""
    error = await refused(url.replace("/test_", "/other_"))
    assert "no such database" in error.detail


async def test_a_wrong_password_is_told(url, scram):
    """The server refuses the login; neither password is repeated."""
    error = await refused(scram.replace(":right@", ":wrong@"))
    assert "password" in error.detail
    assert "wrong" not in error.detail


async def test_an_old_server_is_refused(url, monkeypatch):
    """Guard: what the statements need came with version 15."""
    monkeypatch.setattr(database, "OLDEST", 990_000)
    error = await refused(url)
    assert error.code == "server_too_old"
    assert "too old" in error.detail


async def test_a_closed_store_says_so(url):
    """A late call during a stop is no crash."""
    async with opened(url) as store:
        pass
    with pytest.raises(Unavailable):
        await store.counts()


# Passwords that do not last


@pytest.fixture
async def scram(url):
    """Return the URL of a person whose password the server checks."""
    async with databases.person(url, "right") as theirs:
        yield theirs


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_each_new_connection_asks_for_a_fresh_password(url, scram, kind):
    """Guard: a token may be an hour old at most; the URL's own password is not used."""
    asked = []

    def token():
        asked.append(1)
        return "right"

    async def later():
        return token()

    without = scram.replace(":right@", "@")
    async with opened(without, password=later if kind == "async" else token) as store:
        request = await ask(store)
        before = len(asked)
        await databases.cut_off(url)
        assert (await store.request(request.id)).id == request.id
        assert len(asked) > before >= 2


# A server that goes and comes


async def test_lost_connections_are_made_anew_and_nobody_notices(url, store):
    """Guard: the retry; restarts and scale-to-zero end idle connections."""
    pen = await begin(store)
    for piece in range(5):
        await databases.cut_off(url)
        assert await store.append([pen.say(f"{piece} ")]) == [True]
        await databases.cut_off(url)
        await ask(store)
    await databases.cut_off(url)
    assert await store.renew({pen.id: pen.claim.claim_id}, 30) == {pen.id}
    await complete(store, pen, "end")
    assert (await sound(store, pen.id)).text() == "0 1 2 3 4 end"


async def test_a_killed_server_loses_nothing_that_was_acknowledged(own_server):
    """`kill -9` of the whole server in mid-answer; the store goes on by itself when it is back."""
    server, url = own_server
    async with opened(url) as store:
        pen = await begin(store)
        assert await store.append([pen.say("before ")]) == [True]
        kept = await whole(store, pen.id)
        databases.kill(server)
        with pytest.raises(Unavailable) as failed:
            await ask(store)
        assert failed.value.retryable
        server.ensure_postgres_running()

        async def back():
            with contextlib.suppress(Unavailable):
                return await whole(store, pen.id) == kept

        await eventually(back, within_s=20, what="the log as it was")
        await complete(store, pen, "after")
        assert (await sound(store, pen.id)).text() == "before after"


@pytest.fixture
def own_server():
    """Start a server that may be killed, with commits that reach the disk."""
    with databases.another() as server:
        yield server, server.get_uri()


async def test_a_server_that_is_just_starting_is_waited_for(url, monkeypatch):
    """Guard: `_started` makes a new pool for each try; one that could not open stays closed."""
    refusals = [asyncpg.CannotConnectNowError("the database system is starting up")] * 2

    async def init(connection):
        if refusals:
            raise refusals.pop()
        await prepare(connection)

    prepare = database._init
    monkeypatch.setattr(database, "_init", init)
    async with opened(url) as store:
        assert (await store.counts())["queued"] == 0
    assert not refusals


class LosesCommits(database.Database):
    """Commits and then loses the connection, at each first try."""

    async def _insist(self, attempt, operation):
        tries = []

        async def lossy():
            done = await attempt()
            tries.append(1)
            if len(tries) == 1:
                raise asyncpg.ConnectionDoesNotExistError("lost after the commit")
            return done

        return await super()._insist(lossy, operation)


async def test_a_commit_whose_answer_was_lost_counts_once(url):
    """Guard: a second run looks for what the first one did before it decides."""
    store = PostgresStore(Access(url=url))
    await store.open()
    store.db.__class__ = LosesCommits
    new = question(idempotency_key="k", fingerprint="f")
    assert (await store.accept(new)).request.id == new.id
    assert (await store.accept(question())).request.status is Status.QUEUED
    assert (await store.counts())["queued"] == 2
    chat = await store.create_chat("ann", "guide", "t")
    (added,) = await store.add_messages(chat.id, "ann", [NewMessage("msg_once", "user", "x")])
    assert await store.messages(chat.id, "ann") == [added]
    pen = Pen(await take(store, new.id))
    assert await store.claim(new.id, "another", 30.0) is None
    assert pen.claim == Claim(
        pen.claim.claim_id,
        await store.request(new.id),
        await whole(store, new.id),
        (await store.messages(pen.chat_id, "ann"))[:1],
    )
    for piece in range(3):
        assert await store.append([pen.say(f"{piece} ")]) == [True]
    assert await store.finish(*pen.end())
    assert not await store.finish(*Pen(pen.claim).end())
    assert (await sound(store, pen.id)).text() == "0 1 2 "
    await store.close()


async def test_an_append_in_doubt_is_looked_for_by_the_next_try(url, store):
    """Guard: the journal tries again after `Unavailable`; that must not cost the run its claim."""
    pen = await begin(store)
    said = pen.say("once")
    await store.append([said])
    store._doubts.add([said])  # as if the answer to it had been lost
    assert await store.append([said]) == [True]
    assert await store.append([said]) == [False]
    assert (await sound(store, pen.id)).text() == "once"


async def test_a_process_that_stops_in_a_transaction_is_thrown_out(url, store, monkeypatch):
    """Guard: the server's own time limit; else a frozen process would stop all admission."""
    monkeypatch.setattr(database, "IDLE_IN_TRANSACTION_S", 1)
    async with opened(url) as frozen:
        await ask(store)

        async def stop_here(session):
            await session.one("SELECT pg_advisory_xact_lock(hashtext('perdure.admission'))")
            held.set()
            await asyncio.sleep(30)  # a process that was stopped; it is thrown out before

        held = asyncio.Event()
        stopped = asyncio.ensure_future(frozen.db.write(stop_here))
        await held.wait()
        assert len(await store.admit(RUN)) == 1
        stopped.cancel()
        await asyncio.gather(stopped, return_exceptions=True)


async def test_a_connection_that_is_out_of_step_is_used_no_more(store):
    """Guard: the driver's own complaint counts as a loss; seen when a server was cut off."""
    used = []

    async def work(session):
        used.append(session._connection._con)
        if len(used) == 1:
            detail = "cannot switch to state 12; another operation (2) is in progress"
            raise asyncpg.InternalClientError(detail)
        return await session.one("SELECT 1")

    assert tuple(await store.db.read(work)) == (1,)
    assert [connection.is_closed() for connection in used] == [True, False]


async def test_a_run_that_was_stopped_stores_its_end_in_spite_of_a_deadlock(store):
    """Guard: `before` in `_insist`; a time limit or a drain has cancelled the task already."""
    tries = []

    async def work(session):
        tries.append(1)
        if len(tries) == 1:
            raise asyncpg.DeadlockDetectedError("deadlock detected")
        return tuple(await session.one("SELECT 1"))

    async def run():
        try:
            running.set()
            await asyncio.sleep(30)  # until it is cancelled
        except asyncio.CancelledError:
            return await store.db.write(work)

    running = asyncio.Event()
    task = asyncio.ensure_future(run())
    await running.wait()
    task.cancel()
    assert await task == (1,)


async def test_a_cancellation_that_a_lost_connection_covers_is_not_forgotten(store):
    """Guard: `_cancellations() > before`; else the work would be tried again, and its end wait."""

    async def work(session):
        working.set()
        try:
            await asyncio.sleep(30)  # until it is cancelled
        except asyncio.CancelledError:
            raise asyncpg.ConnectionDoesNotExistError("lost") from None

    working = asyncio.Event()
    task = asyncio.ensure_future(store.db.write(work))
    await working.wait()
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()


async def test_a_count_that_is_no_whole_number_stops_no_sum(store):
    """Guard: `numeric` in `USAGE`; older versions stored whatever a server said."""
    pen = await begin(store)
    await complete(store, pen)
    odd = """{"input_tokens": 12.5, "output_tokens": 1180591620717411303424}"""
    await store.db.look("UPDATE request SET usage = $1", odd)
    (summed,) = await store.usage(0)
    assert (summed.input_tokens, summed.output_tokens) == (12, 2**70)


# Schema


async def test_a_newer_schema_is_no_reason_to_stop(url, store):
    """Expand-only: old and new processes work side by side while a deployment rolls."""
    await store.db.look("INSERT INTO migration VALUES (999, '0999_later.sql', 'x', 0)")
    async with opened(url) as old:
        assert (await old.check())["schema"] == 999


async def test_a_changed_migration_is_refused(url, store):
    """What was applied is history."""
    await store.db.look("UPDATE migration SET checksum = 'x'")
    assert (await refused(url)).code == "schema_changed"


async def test_check_proves_that_it_can_write(store):
    """Durability as the server has it in force."""
    told = await store.check()
    assert told["engine"] == "postgresql"
    assert (told["synchronous_commit"], told["fsync"]) == ("on", "off")
    await store.db.look("ALTER TABLE probe RENAME TO gone")
    with pytest.raises(Unavailable):
        await store.check()


# Search


def test_no_text_is_too_long_or_too_odd_to_be_indexed():
    """Guard: PostgreSQL refuses words over 2046 bytes and entries over a mebibyte."""
    many = words.of(" ".join(f"word{n}" for n in range(300_000)))
    assert 50_000 < len(many) < 300_000
    assert words.of("漢" * 5000) == ["漢" * 200]
    assert words.of("\0 \n ") == []


@pytest.mark.timeout(120)
async def test_a_text_with_more_words_than_an_entry_holds_is_stored_and_found(store):
    """The first words of a monster are found; the answer itself is whole."""
    text = " ".join(f"word{n}" for n in range(150_000))
    pen = await begin(store, text="short", title="one")
    await complete(store, pen, text)
    assert (await store.messages(pen.chat_id, "ann"))[-1].text == text
    assert [chat.title for chat in (await store.chats("ann", query="word7"))[0]] == ["one"]
