"""Search: titles and texts, whatever is typed."""

from __future__ import annotations

import pytest

from tests.contract.stores import Pen, ask, begin, complete, take

HOSTILE = [
    '"', "'", "*", "%", "_", "\\", "NEAR(", "a NEAR/2 b", "AND", "OR NOT", "text:", "^a", "-a",
    "(", ")", "{a b}", '"a', "a*b", "++", "\x00", "a\x00b", "漢字", "😀", "\u0301", "--", ";",
    "x" * 5000, "a " * 500, "\ufffd", "é", "$1", "?", ":x",
]  # fmt: skip


async def found(store, query, user="ann"):
    chats, _ = await store.chats(user, query=query)
    return {chat.title for chat in chats}


async def test_titles_questions_and_answers_are_searched(store):
    """What a person remembers of a chat is anywhere in it."""
    pen = await begin(store, text="A question about otters", title="Pets")
    await complete(store, pen, "They eat sea urchins.")
    for query in ("Pets", "pet", "otters", "OTTER", "urchins", "urch", "sea otters"):
        if query == "sea otters":
            assert await found(store, query) == set()
        else:
            assert await found(store, query) == {"Pets"}
    assert await found(store, "walrus") == set()


async def test_all_words_of_a_query_must_be_in_one_message(store):
    """More words find less."""
    await ask(store, text="red green", title="one")
    await ask(store, text="green blue", title="two")
    assert await found(store, "green") == {"one", "two"}
    assert await found(store, "blue green") == {"two"}
    assert await found(store, "red blue") == set()


async def test_accents_do_not_matter(store):
    """Who types without accents finds the words that have them."""
    await ask(store, text="Der Käse im Café", title="one")
    for query in ("kase", "Käse", "cafe", "CAFÉ"):
        assert await found(store, query) == {"one"}


@pytest.mark.parametrize("query", HOSTILE)
async def test_no_query_breaks_the_search(store, query):
    """Guard: a query is words, never syntax."""
    await ask(store, text="plain words", title="plain")
    assert await found(store, query) <= {"plain"}


@pytest.mark.parametrize("query", ["%", "_", "\\", '"', "100%"])
async def test_a_title_is_found_by_its_signs_themselves(store, query):
    """Guard: signs of the pattern language stand for themselves."""
    await ask(store, text="x", title='100% _ \\ "')
    await ask(store, text="y", title="100 others")
    assert await found(store, query) == {'100% _ \\ "'}


async def test_an_answer_is_found_once_it_has_ended_and_not_before(store):
    """Partial texts are not searched; cancelled ones are, as far as they got."""
    pen = await begin(store, title="one")
    await store.append([pen.say("half a zebra")])
    assert await found(store, "zebra") == set()
    await store.cancel(pen.id)
    assert await found(store, "zebra") == {"one"}


async def test_archived_chats_are_searched_apart(store):
    """The archive has a list of its own."""
    request = await ask(store, text="otters", title="one")
    await store.update_chat(request.chat_id, "ann", archived=True)
    assert await found(store, "otters") == set()
    assert (await store.chats("ann", query="otters", archived=True))[0]


async def test_search_pages_like_any_list(store):
    """Cursors hold for found chats too."""
    for n in range(5):
        await ask(store, text=f"otter {n}", title=str(n))
    titles, cursor = [], None
    while True:
        page, cursor = await store.chats("ann", query="otter", limit=2, cursor=cursor)
        titles += [chat.title for chat in page]
        if cursor is None:
            break
    assert titles == ["4", "3", "2", "1", "0"]


async def test_removed_texts_are_not_found_in_what_comes_later(store):
    """Guard: a text leaves the index with its message, so that no other message inherits it."""
    pen = await begin(store, text="1", title="one")
    waiting = await ask(store, text="otters", chat_id=pen.chat_id)
    assert await found(store, "otters") == {"one"}
    await store.remove_message(waiting.user_message_id, "ann")
    assert await found(store, "otters") == set()
    later = await ask(store, text="beavers", title="two")
    assert await found(store, "otters") == set()
    await complete(store, Pen(await take(store, later.id)), "Dams.")
    assert await found(store, "beavers") == {"two"}


async def test_search_survives_a_crash(harness):
    """What was found before is found after."""
    await ask(harness.store, text="otters", title="one")
    assert await found(harness.store, "otters") == {"one"}
    await ask(harness.store, text="beavers", title="two")
    await harness.crash()
    assert await found(harness.store, "otters") == {"one"}
    assert await found(harness.store, "beavers") == {"two"}
