"""Moving between databases keeps every id and event, or changes nothing."""

import random

import pytest

from perdure import adapters
from perdure.errors import Conflict, Invalid, PerdureError, SettingsError, Unavailable
from perdure.model import Feedback, new_id
from perdure.settings import Settings
from perdure.stores import copying
from perdure.stores.postgres import Access, PostgresStore
from perdure.stores.postgres import copying as postgres_copying
from perdure.stores.sqlite import SqliteStore
from tests import databases
from tests.contract.stores import RUN, ask, begin, complete, question, whole

ODD = "漢字 \U0001f600 é \u2028 'quoted' \"too\" \\ tab\t end"


@pytest.fixture
async def url():
    async with databases.fresh() as made:
        yield made


async def copy(source, target):
    """Copy as the command does; return how many rows each table had."""
    settings = Settings()
    async with (
        adapters.copy_source(settings, source) as given,
        adapters.copy_target(settings, target) as taking,
    ):
        return await copying.carry(given, taking, lambda _: None)


async def fill(store, rng):
    """Put something of everything into a store: every state, kind of log and noun."""
    for n in range(12):
        user = f"user {n % 3}"
        pen = await begin(store, user, f"Question {n} {ODD}", metadata={"n": str(n)})
        for _ in range(rng.randrange(1, 5)):
            await store.append([pen.say(ODD * rng.randrange(1, 40))])
        await complete(store, pen, f"Answer {n}")
        verdict = Feedback(
            id=new_id("fb"),
            user_id=user,
            request_id=pen.id,
            trace_id="t",
            name="thumb",
            value=n % 2 == 0,
            rationale=ODD,
            created_at=1.5,
        )
        await store.add_feedback(verdict)
    running = await begin(store, "user 0", "Still running")
    await store.append([running.say("in the middle")])
    await store.cancel((await ask(store, "user 1", "Stopped")).id)
    key = question("user 2", "With a key", idempotency_key="k", fingerprint="f", notify=True)
    await store.accept(key)
    await store.admit(RUN)
    await ask(store, "user 2", "Waiting")
    await store.prune(events_s=0, requests_s=0, chats_s=0)
    return running


async def everything(store):
    """Return all that the outside can see of a store."""
    seen: dict[str, object] = {}
    for user in ("user 0", "user 1", "user 2"):
        chats, _ = await store.chats(user, limit=200)
        for chat in chats:
            seen[chat.id] = (chat, await store.messages(chat.id, user))
        requests, _ = await store.requests(user, limit=200)
        for request in requests:
            log = await whole(store, request.id)
            verdicts = await store.feedback(request.id, user)
            seen[request.id] = (request, log, verdicts)
        seen[user] = (await store.revision(user), await store.webhooks(user))
    figures = await store.figures()
    return seen, figures.ended, figures.accepted


async def test_there_and_back_every_id_and_event_is_the_same(tmp_path, url, rng):
    """SQLite, PostgreSQL, SQLite again; also answers that run and questions that wait."""
    first, last = tmp_path / "first.db", tmp_path / "last.db"
    store = SqliteStore(first)
    await store.open()
    running = await fill(store, rng)
    before = await everything(store)
    await store.close()

    counts = await copy(f"sqlite:///{first}", url)
    assert counts["request"] == len([key for key in before[0] if key.startswith("resp_")])
    shared = PostgresStore(Access(url=url))
    await shared.open()
    assert await everything(shared) == before
    found, _ = await shared.chats("user 0", query="question 漢字")
    assert len(found) == 4, "search knows the words"
    assert (await shared.accept(question("user 2", idempotency_key="k", fingerprint="f"))).replayed
    await shared.close()

    await copy(url, f"sqlite:///{last}")
    back = SqliteStore(last)
    await back.open()
    assert await everything(back) == before
    found, _ = await back.chats("user 0", query="question 漢字")
    assert len(found) == 4, "guard: `unindexed` in `complete`"
    (taken,) = await back.reap(lambda _: None, dead=True)
    assert taken.id == running.id, "what ran is taken up again"
    assert (await begin(back, "user 0", "a new one")).id
    await back.close()
    with pytest.raises(Invalid):  # guard: the look in `_beside`
        await copy(url, f"sqlite:///{last}")
    await shared.open()
    assert (await begin(shared, "user 0", "a new one")).id, "guard: `setval` in `complete`"
    await shared.close()


async def test_a_relative_file_lies_in_the_data_folder(tmp_path):
    """As that of `store_url` does; `--data-dir` names the folder of both."""
    settings = Settings(data_dir=tmp_path)
    store = SqliteStore(tmp_path / "first.db")
    await store.open()
    await store.close()
    async with (
        adapters.copy_source(settings, "sqlite:///first.db"),
        adapters.copy_target(settings, "sqlite:///second.db"),
    ):
        pass
    assert (tmp_path / "second.db").exists()


async def test_a_copy_that_breaks_leaves_an_empty_database(tmp_path, url, rng, monkeypatch):
    """Guard: one transaction, committed after the sums agree."""
    path = tmp_path / "first.db"
    store = SqliteStore(path)
    await store.open()
    await fill(store, rng)
    await store.close()
    fill_one = postgres_copying.PostgresSide.fill

    async def forgetful(self, table, columns, rows):
        await fill_one(self, table, columns, rows[:-1] if table == "segment" else rows)

    monkeypatch.setattr(postgres_copying.PostgresSide, "fill", forgetful)
    with pytest.raises(Unavailable) as broken:
        await copy(f"sqlite:///{path}", url)
    assert broken.value.code == "copy_differs"
    assert await databases.rows(url, "SELECT count(*) FROM chat") == [(0,)]
    monkeypatch.undo()
    await copy(f"sqlite:///{path}", url)
    with pytest.raises(Invalid):
        await copy(f"sqlite:///{path}", url)


async def test_a_copy_to_a_file_that_breaks_leaves_no_file(tmp_path, url, monkeypatch):
    shared = PostgresStore(Access(url=url))
    await shared.open()
    await complete(shared, await begin(shared))
    await shared.close()

    async def broken(*_):
        detail = "no"
        raise Unavailable(detail)

    monkeypatch.setattr(copying, "_sum", broken)
    with pytest.raises(Unavailable):
        await copy(url, f"sqlite:///{tmp_path / 'last.db'}")
    assert not (tmp_path / "last.db").exists()


async def test_nothing_is_copied_while_somebody_works_on_either_side(tmp_path, url):
    """Guards: the lock of the file; the connections of the database."""
    store = SqliteStore(tmp_path / "first.db")
    await store.open()
    with pytest.raises(PerdureError) as locked:
        await copy(f"sqlite:///{tmp_path / 'first.db'}", url)
    assert locked.value.code == "database_locked"
    await store.close()
    shared = PostgresStore(Access(url=url))
    await shared.open()
    with pytest.raises(Conflict) as used:
        await copy(f"sqlite:///{tmp_path / 'first.db'}", url)
    assert used.value.code == "database_in_use"
    await shared.close()


def test_both_schemas_have_the_same_tables_and_columns(tmp_path):
    """What only one of them has stops the copy; `test_there_and_back` shows that none has."""
    assert copying.agreed({"a": ["x", "y"]}, {"a": ["y", "x"]}) == {"a": ["x", "y"]}
    for other in ({"a": ["x"]}, {"a": ["x", "y"], "b": ["z"]}):
        with pytest.raises(Invalid):
            copying.agreed({"a": ["x", "y"]}, other)


def test_a_digest_tells_rows_apart_and_knows_no_order():
    rows = [("a", 1, None), ("a", 1, ""), ("b", 2.0, b"x")]
    assert len({copying._digest(row) for row in rows}) == 3
    random.Random(0).shuffle(rows)
    assert copying._digest(("a", True)) == copying._digest(("a", 1))


@pytest.mark.parametrize("scheme", ["redis", "rediss", "valkey"])
async def test_a_store_in_redis_is_not_copied_and_says_so(tmp_path, scheme):
    """Guard: before anything is opened or made; never with the password."""
    there, path = f"{scheme}://:secret@127.0.0.1:1/0", tmp_path / "first.db"
    store = SqliteStore(path)
    await store.open()
    await store.close()
    for source, target in ((there, f"sqlite:///{path}"), (f"sqlite:///{path}", there)):
        with pytest.raises(SettingsError) as refused:
            await copy(source, target)
        assert "Redis" in str(refused.value)
        assert "secret" not in str(refused.value)
