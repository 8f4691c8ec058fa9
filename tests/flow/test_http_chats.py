"""Chats and their messages: lists, search, branches, waiting questions, export."""

import json

import pytest

from tests.flow.serving import serving


@pytest.fixture
async def server(tmp_path):
    async with serving(tmp_path) as served:
        yield served


async def test_the_list_tells_each_chats_state(server):
    done = await server.asked_and_ended("Explain quantum computing")
    running = await server.ask("hi", "steered")
    await server.ask("next", "steered", chat_id=running["chat_id"])
    server.steered.say("a")
    await server.shown(running["request_id"], "a")
    page = await server.get("/api/chats")
    chats = {chat["id"]: chat for chat in page["chats"]}
    assert chats[done["chat_id"]] == {
        **chats[done["chat_id"]],
        "title": "Explain quantum computing",
        "agent_id": "echo",
        "running_request_id": None,
        "queued": 0,
        "unread": True,
        "last_status": "completed",
    }
    assert chats[running["chat_id"]]["running_request_id"] == running["request_id"]
    assert chats[running["chat_id"]]["queued"] == 1
    assert page["revision"] >= max(chat["revision"] for chat in page["chats"])


async def test_a_search_finds_titles_and_texts(server):
    one = await server.asked_and_ended("About whales\nand plankton")
    await server.asked_and_ended("About stars")
    for query in ("whales", "PLANKTON"):
        page = await server.get("/api/chats", q=query)
        assert [chat["id"] for chat in page["chats"]] == [one["chat_id"]]
    assert (await server.get("/api/chats", q="nothing like it"))["chats"] == []


@pytest.mark.parametrize("query", ["%", "_", '"', "'", "\\", "a OR b", "*", "(", "NEAR", "\ud7ff"])
async def test_a_search_takes_any_text_literally(server, query):
    await server.asked_and_ended("hello")
    assert (await server.get("/api/chats", q=query))["chats"] == []


async def test_chats_come_in_pages_pinned_first(server):
    ids = [(await server.ask(str(n)))["chat_id"] for n in range(3)]
    await server.http.patch(f"/api/chats/{ids[0]}", json={"pinned": True})
    first = await server.get("/api/chats", limit=2)
    second = await server.get("/api/chats", limit=2, cursor=first["next_cursor"])
    listed = [chat["id"] for chat in first["chats"] + second["chats"]]
    assert (listed[0], sorted(listed)) == (ids[0], sorted(ids))
    assert second["next_cursor"] is None


async def test_an_empty_parameter_of_the_list_is_none(server):
    accepted = await server.asked_and_ended()
    page = await server.get("/api/chats", q="", archived="", limit="", cursor="")
    assert [chat["id"] for chat in page["chats"]] == [accepted["chat_id"]]
    assert page["next_cursor"] is None


async def test_a_page_cursor_of_ones_own_making_is_refused(server):
    response = await server.http.get("/api/chats", params={"cursor": "nonsense"})
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_chat_is_made_renamed_pinned_archived_and_removed(server):
    made = await server.http.post("/api/chats", json={"agent_id": "echo", "title": "Plans"})
    assert made.status_code == 201
    path = made.headers["location"]
    assert (await server.get(path)) == made.json()
    changed = await server.http.patch(path, json={"title": "Plan B", "archived": True})
    assert (changed.json()["title"], changed.json()["archived"]) == ("Plan B", True)
    assert (await server.get("/api/chats"))["chats"] == []
    assert len((await server.get("/api/chats", archived=True))["chats"]) == 1
    assert (await server.http.delete(path)).status_code == 204
    assert (await server.http.get(path)).status_code == 404
    assert (await server.http.delete(path)).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"title": ""},
        {"title": "   "},
        {"title": "x" * 201},
        {"title": "\x00"},
        {"pinned": 5},
        [],
    ],
)
async def test_a_change_that_changes_nothing_or_cannot_be_is_refused(server, body):
    path = (await server.http.post("/api/chats", json={})).headers["location"]
    response = await server.http.patch(path, json=body)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


async def test_an_empty_chat_needs_no_body(server):
    made = await server.http.post("/api/chats")
    assert (made.status_code, made.json()["title"]) == (201, "New chat")


async def test_reading_clears_the_unread_mark(server):
    accepted = await server.asked_and_ended()
    path = f"/api/chats/{accepted['chat_id']}"
    assert (await server.get(path))["unread"] is True
    assert (await server.http.post(f"{path}/read")).json()["unread"] is False
    assert (await server.get(path))["unread"] is False


async def test_an_answer_in_progress_carries_its_text_and_the_number_to_go_on_from(server):
    accepted = await server.ask("hi", "steered")
    server.steered.say("so far")
    status = await server.shown(accepted["request_id"], "so far")
    tree = await server.get(f"/api/chats/{accepted['chat_id']}/messages")
    question, answer = tree["messages"]
    assert (question["content"], question["status"]) == ("hi", "streaming")
    assert (answer["content"], answer["status"]) == ("so far", "streaming")
    assert answer["sequence_number"] == status["sequence_number"]
    assert answer["output"][0]["content"][0]["text"] == "so far"
    assert answer["request_id"] == accepted["request_id"]
    assert tree["branch"] == [question["id"], answer["id"]]


async def test_a_failed_answer_keeps_its_partial_and_says_why(server):
    accepted = await server.ask("hi", "broken")
    await server.ended(accepted["request_id"])
    tree = await server.get(f"/api/chats/{accepted['chat_id']}/messages")
    answer = tree["messages"][-1]
    assert (answer["status"], answer["content"]) == ("failed", "half")
    assert answer["error"]["code"] == "agent_error"


async def test_asking_with_a_parent_makes_a_branch_and_another_can_be_chosen(server):
    first = await server.asked_and_ended("one")
    second = await server.ask("two", chat_id=first["chat_id"])
    await server.ended(second["request_id"])
    edited = await server.ask("2", chat_id=first["chat_id"], parent_id=first["message_id"])
    await server.ended(edited["request_id"])
    path = f"/api/chats/{first['chat_id']}"
    tree = await server.get(f"{path}/messages")
    assert tree["branch"][-1] == edited["message_id"]
    assert second["user_message_id"] not in tree["branch"]
    chosen = {"current_message_id": second["message_id"]}
    await server.http.patch(path, json=chosen)
    tree = await server.get(f"{path}/messages")
    assert tree["branch"][-1] == second["message_id"]
    other = await server.asked_and_ended("elsewhere")
    foreign = {"current_message_id": other["message_id"]}
    assert (await server.http.patch(path, json=foreign)).status_code == 404


async def test_the_first_question_can_be_edited_by_beginning_anew(server):
    first = await server.asked_and_ended("one")
    edited = await server.ask("uno", chat_id=first["chat_id"], from_root=True)
    assert (await server.ended(edited["request_id"]))["final_response"] == "uno"
    tree = await server.get(f"/api/chats/{first['chat_id']}/messages")
    assert tree["branch"] == [edited["user_message_id"], edited["message_id"]]
    roots = [one["content"] for one in tree["messages"] if one["parent_id"] is None]
    assert roots == ["one", "uno"]


async def test_a_waiting_question_can_be_edited_and_withdrawn_a_running_one_not(server):
    first = await server.ask("one", "steered")
    server.steered.say("a")
    await server.shown(first["request_id"], "a")
    second = await server.ask("two", "steered", chat_id=first["chat_id"])
    path = f"/api/messages/{second['user_message_id']}"
    edited = await server.http.patch(path, json={"content": "2"})
    assert (edited.status_code, edited.json()["content"], edited.json()["status"]) == (
        200,
        "2",
        "queued",
    )
    assert (await server.get(f"/api/requests/{second['request_id']}"))["user_message"] == "2"
    assert (await server.http.delete(path)).status_code == 204
    tree = await server.get(f"/api/chats/{first['chat_id']}/messages")
    assert [one["id"] for one in tree["messages"]] == [
        first["user_message_id"],
        first["message_id"],
    ]
    running = f"/api/messages/{first['user_message_id']}"
    for response in (
        await server.http.patch(running, json={"content": "1"}),
        await server.http.delete(running),
    ):
        assert (response.status_code, response.json()["code"]) == (409, "message_sent")


@pytest.mark.parametrize("content", ["", "  ", "\x00", None, 5, "x" * 1_000_001])
async def test_a_waiting_question_cannot_be_edited_into_none(server, content):
    first = await server.ask("one", "steered")
    second = await server.ask("two", "steered", chat_id=first["chat_id"])
    path = f"/api/messages/{second['user_message_id']}"
    response = await server.http.patch(path, json={"content": content})
    assert response.status_code in (413, 422)
    assert (await server.get(f"/api/requests/{second['request_id']}"))["user_message"] == "two"


async def test_a_chat_is_exported_to_read_and_to_keep(server):
    accepted = await server.asked_and_ended('Say "hi" / \u202e über\nalles')
    path = f"/api/chats/{accepted['chat_id']}/export"
    text = await server.http.get(path)
    assert text.headers["content-type"].startswith("text/markdown")
    name = text.headers["content-disposition"]
    assert name.startswith("attachment; filename=")
    assert "filename*=UTF-8''" in name
    assert name.isascii()
    assert "%E2%80%AE" not in name, "no sign that turns the name around"
    assert text.text.startswith("# ")
    assert text.text.count("über\nalles") == 2
    whole = (await server.http.get(f"{path}?format=json")).json()
    assert [one["role"] for one in whole["messages"]] == ["user", "assistant"]
    assert whole["chat"]["id"] == accepted["chat_id"]
    assert (await server.http.get(f"{path}?format=pdf")).status_code == 422


async def test_deleting_a_chat_stops_what_runs_in_it(server):
    accepted = await server.ask("hi", "steered")
    server.steered.say("a")
    await server.shown(accepted["request_id"], "a")
    assert (await server.http.delete(f"/api/chats/{accepted['chat_id']}")).status_code == 204
    assert (await server.core.store.counts()).get("streaming", 0) == 0
    assert (await server.http.get(f"/api/requests/{accepted['request_id']}")).status_code == 404


async def test_ten_answers_cost_the_tree_no_more_than_its_size(server):
    """Guard: one read for all requests of a chat, whatever their number."""
    accepted = await server.asked_and_ended("0")
    for n in range(1, 10):
        more = await server.ask(str(n), chat_id=accepted["chat_id"])
        await server.ended(more["request_id"])
    tree = await server.get(f"/api/chats/{accepted['chat_id']}/messages")
    assert [one["content"] for one in tree["messages"]] == [str(n // 2) for n in range(20)]
    assert len(json.dumps(tree)) < 20_000
