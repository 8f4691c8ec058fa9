"""The AI SDK's endpoint with the real `useChat`: send, leave, resume, finish, stop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.flow.clients import NODE, run
from tests.flow.serving import JSON, Served, serving
from tests.flow.stores import store_settings
from tests.upstream import Upstream
from tests.world.agents import of_a_page
from tests.world.server import Server
from tests.world.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

CONFIG = """
[agents.demo]
base_url = "{url}"
model = "demo"
[agents.page]
handler = "python"
module = "tests.world.agents:of_a_page"
"""


def words(count: int) -> str:
    return "".join(f"w{n} " for n in range(count))


MAJORS = {"7": ("ai", "@ai-sdk/react"), "6": ("ai6", "ai6-react")}
EACH = [("postgres", "7"), ("sqlite", "6")]


@pytest.fixture(scope="module", params=EACH, ids="-ai-".join)
def each(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A store, and a major version of the client; stores know none of it, so each once."""
    return tuple(request.param)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(
    each: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, Any]]:
    """What the page with `useChat` showed; each store, and the major version before."""
    store, major = each
    async with store_settings(store) as settings:
        with Upstream() as upstream:
            config = settings + CONFIG.format(url=upstream.url)
            server = Server(tmp_path_factory.mktemp("ai-sdk"), config)
            yield await _page(server, upstream, MAJORS[major])


async def _page(server: Server, upstream: Upstream, packages: tuple[str, str]) -> dict[str, Any]:
    """Start a server and the page; return what the page told."""
    try:
        await server.start()
        page = await run(NODE, "chat.mjs", server.url, *packages)
        try:
            await page.until("reattached")
            upstream.open("long")
            await page.until("between")
            upstream.open("gap")
            await _ended(server, "chat-gap")
            page.go_on()
            await page.until("retried")
        finally:
            await page.end()
        return page.told
    finally:
        server.end()


async def _ended(server: Server, client_id: str) -> None:
    """Wait until the newest answer of a chat has ended."""
    async with httpx.AsyncClient(base_url=server.url) as http:
        chat_id = (await http.get(f"/api/chat/{client_id}")).json()["chat_id"]

        async def ended() -> bool:
            chat = (await http.get(f"/api/chats/{chat_id}")).json()
            return bool(chat["last_status"] == "completed")

        await eventually(ended, within_s=20, what="the answer ended")


async def test_questions_are_answered_in_one_chat(told):
    assert told["sent"] == shown(["user", "assistant"], words(6))
    assert told["second"] == shown(["user", "assistant"] * 2, words(3))


def shown(roles: list[str], text: str, status: str = "ready") -> dict[str, Any]:
    return {"status": status, "error": None, "roles": roles, "text": text}


async def test_regenerating_makes_a_sibling(told):
    assert told["regenerated"]["text"] == words(3)
    assert told["branch"] == 4


async def test_editing_the_first_question_begins_the_chat_anew_beside_it(told):
    """Guard: `messageId` and `from_root`; without them the edit would stand behind the old talk."""
    assert told["edited"] == [shown(["user", "assistant"], words(count)) for count in (2, 5)]
    assert told["reloaded"] == shown(["user", "assistant"], words(5))
    assert told["roots"] == 3


async def test_a_partial_is_neither_lost_nor_doubled_when_the_page_comes_back(told):
    """Guard: a resume tells the whole answer again under the same message id."""
    assert told["meanwhile"] == shown(["user", "assistant"], words(2))
    assert told["partial"]
    assert words(40).startswith(told["partial"])
    assert told["resumed"] == shown(["user", "assistant"], words(40))


async def test_nothing_to_resume_is_204_and_an_ended_answer_is_shown_once(told):
    assert told["idle"] == 204
    assert told["again"] == shown(["user", "assistant"], words(40))


async def test_an_answer_that_ends_between_loading_and_resuming_is_not_missed(told):
    """Guard: `resume_grace_s`; with a 204 the page would keep the partial until a reload."""
    assert words(40).startswith(told["between"])
    assert told["between"] != words(40)
    assert told["caught_up"] == shown(["user", "assistant"], words(40))


async def test_a_disconnect_stops_nothing_and_stop_keeps_the_partial(told):
    """Guards: `cancel` in the route's `stop`; a disconnect that reaches no request."""
    assert told["disconnected"] == 200
    assert told["tail"] == ['data: {"type":"abort","reason":"cancelled"}', "data: [DONE]", ""]
    assert told["kept"]
    assert words(40).startswith(told["kept"])
    assert told["kept"] != words(40)


async def test_a_refusal_is_a_sentence(told):
    assert told["refused"]["error"] == "The message is empty."


async def test_a_tool_of_the_page_is_used_once_and_the_answer_goes_on_in_its_message(told):
    """Guards: `_go_on`; `providerExecuted` for the agent's own tools, else the page sends anew."""
    text = 'It is {"city":"Bonn"}.'
    assert told["used"] == shown(["user", "assistant"], text)
    parts = [
        ["step-start", None, None],
        ["dynamic-tool", "output-available", "seen"],
        ["tool-where", "output-available", {"city": "Bonn"}],
        ["step-start", None, None],
        ["text", "done", None],
    ]
    assert [[*part, None][:3] for part in told["parts"]] == parts
    assert [[*part, None][:3] for part in told["reparts"]] == parts
    assert told["reused"] == told["used"]
    assert told["went_on"] == shown(["user", "assistant"] * 2, text)
    assert [told[key] for key in ("ran", "ran_again", "ran_in_all")] == [1, 1, 3]


async def test_a_second_attempt_replaces_the_first(told, each):
    """Guard: `reset-step`, which `ai` 6 breaks off at: there it takes a reload."""
    before = words(4) if each[1] == "6" else ""
    assert told["retried"] == shown(["user", "assistant"], before + words(8))
    assert told["reloaded_retried"] == shown(["user", "assistant"], words(8))


QUESTION = {"id": "q1", "role": "user", "parts": [{"type": "text", "text": "hello"}]}


def parts(body: str) -> list[dict[str, Any]]:
    data = [
        frame.removeprefix("data: ") for frame in body.split("\n\n") if frame.startswith("data")
    ]
    assert data[-1] == "[DONE]"
    return [json.loads(one) for one in data[:-1]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    agents = {"page": of_a_page}
    async with serving(tmp_path_factory.mktemp("served"), user="ann", agents=agents) as running:
        yield running


async def asked(served: Served, client_id: str, *messages: dict[str, Any], **more: Any) -> str:
    """Ask and read to the end; return the answer's message id."""
    body = {"id": client_id, "messages": messages, "agent_id": "echo", **more}
    return str(parts((await served.http.post("/api/chat", json=body)).text)[0]["messageId"])


async def texts(served: Served, client_id: str) -> list[str]:
    kept = (await served.get(f"/api/chat/{client_id}"))["messages"]
    return ["".join(p.get("text", "") for p in one["parts"]) for one in kept]


def said(name: str, text: str, role: str = "user") -> dict[str, Any]:
    return {"id": name, "role": role, "parts": [{"type": "text", "text": text}]}


async def test_the_same_question_twice_is_asked_once_and_other_people_see_nothing(served):
    """Guards: the client's message id is the idempotency key; the chat id is the owner's only."""
    body = {"id": "c1", "messages": [QUESTION], "agent_id": "echo"}
    answers = await asyncio.gather(*(served.http.post("/api/chat", json=body) for _ in range(3)))
    assert {answer.headers["x-vercel-ai-ui-message-stream"] for answer in answers} == {"v1"}
    told = [parts(answer.text) for answer in answers]
    assert told[0] == told[1] == told[2]
    assert [part["type"] for part in told[0]] == [
        "start",
        "start-step",
        "text-start",
        "text-delta",
        "text-end",
        "finish-step",
        "finish",
    ]
    eve = served.other("eve")
    assert (await eve.http.get("/api/chat/c1/stream")).status_code == 204
    for method, path in (("GET", "/api/chat/c1"), ("POST", "/api/chat/c1/stop")):
        refused = await eve.http.request(method, path)
        assert (refused.status_code, refused.text) == (404, "There is no such chat.")
    await eve.http.aclose()


async def test_an_ended_answer_is_told_again_for_a_moment_only(served):
    """Guard: `resume_grace_s` ends, else each return to a chat would type its answer anew."""
    await asked(served, "grace", QUESTION)
    again = await served.http.get("/api/chat/grace/stream")
    assert [part["type"] for part in parts(again.text)][-1] == "finish"
    served.core.store.db.all("UPDATE request SET completed_at = completed_at - 11")
    assert (await served.http.get("/api/chat/grace/stream")).status_code == 204


async def test_an_edited_question_makes_a_branch_behind_the_answer_before_it(served):
    first = await asked(served, "c2", QUESTION)
    answer = said(first, "", "assistant")
    for name in ("two", "two edited"):
        await asked(served, "c2", QUESTION, answer, said(name, name))
    assert await texts(served, "c2") == ["hello", "hello", "two edited", "two edited"]


async def test_an_edit_sent_twice_is_asked_once_and_an_old_wording_comes_back_as_it_was(served):
    """An edited question keeps its id, so its text belongs to the key."""
    await asked(served, "c3", said("q", "one"))
    two = [await asked(served, "c3", said("q", "two"), messageId="q") for _ in range(2)]
    assert two[0] == two[1]
    three = await asked(served, "c3", said("q", "three"), messageId="q")
    assert await texts(served, "c3") == ["three", "three"]
    assert await asked(served, "c3", said("q", "two"), messageId="q") == two[0] != three
    assert await texts(served, "c3") == ["two", "two"]


async def test_asking_again_names_the_answer_or_its_question(served):
    """Guard: without the look at its children a question's id would mean the last answer."""
    first = await asked(served, "c4", said("q1", "one"))
    await asked(served, "c4", said("q1", "one"), said(first, "", "assistant"), said("q2", "two"))
    question = (await served.get("/api/chat/c4"))["messages"][0]["id"]
    again = {"trigger": "regenerate-message", "messageId": question}
    await asked(served, "c4", said(question, "one"), **again)
    assert await texts(served, "c4") == ["one", "one"]


@pytest.mark.parametrize("body", ["{", "[]", "{}", '{"id": "c"}', '{"id": "c", "messages": [1]}'])
async def test_nonsense_is_refused_in_a_sentence(served, body):
    answer = await served.http.post("/api/chat", content=body)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text.endswith(".")


@pytest.mark.parametrize("agent_id", [[], ["x"], {"x": 1}, 5])
async def test_an_agent_s_id_that_is_no_string_is_refused(served, agent_id):
    """Guard: `_agent_id`; what has no hash would break the look for the agent."""
    body = {"id": "c-agent", "messages": [said("q", "x")], "agent_id": agent_id}
    answer = await served.http.post("/api/chat", json=body)
    assert (answer.status_code, answer.text[-1]) == (400, ".")


async def test_a_client_of_an_absurd_version_is_answered_and_odd_parts_are_none(served):
    """Guards: `[:9]` of the version; `isinstance` in `outputs_of`."""
    body = {"id": "c-odd", "messages": [said("q", "x")]}
    odd = {"x-ai-sdk-version": "9" * 5000}
    assert (await served.http.post("/api/chat", json=body, headers=odd)).status_code == 200
    last = (await served.get("/api/chat/c-odd"))["messages"][-1]
    body["messages"] = [{**last, "parts": 5}]
    answer = await served.http.post("/api/chat", json=body)
    assert (answer.status_code, answer.text) == (400, "The last message is no question.")


# Tools that run in the page

TOOL = {"type": "function", "name": "where", "parameters": {"type": "object"}}


class Page:
    """A page that has a tool, with an answer that waits for its output."""

    def __init__(self, served: Served, client_id: str) -> None:
        self.served, self.client_id = served, client_id

    async def post(self, *messages: JSON, **more: Any) -> list[JSON]:
        body = {"id": self.client_id, "messages": messages, "agent_id": "page", "tools": [TOOL]}
        answer = await self.served.http.post("/api/chat", json=body | more)
        return parts(answer.text) if answer.status_code == 200 else [{"refused": answer.text}]

    async def begin(self, **more: Any) -> JSON:
        """Ask, and return the message with the call that waits."""
        await self.post(said("q", "Where?"), **more)
        return await self.last()

    async def last(self) -> JSON:
        return dict((await self.served.get(f"/api/chat/{self.client_id}"))["messages"][-1])

    async def give(self, message: JSON, **ended: Any) -> list[JSON]:
        """Do as `addToolOutput` does."""
        *others, call = message["parts"]
        ended = {"state": "output-available"} | ended
        return await self.post({**message, "parts": [*others, {**call, **ended}]})


def kinds(told: list[JSON]) -> list[str]:
    return [part["type"] for part in told]


async def test_an_output_goes_to_the_agent_and_is_told_again_without_a_second_run(served):
    """Guards: a replay tells an ended call without `tool-input-available`; `turn_of` for ids."""
    page = Page(served, "tool-1")
    waiting = await page.begin()
    assert waiting["parts"][-1]["state"] == "input-available"
    told = await page.give(waiting, output=[1, "Bonn"])
    rest = ["start", "start-step", "text-start", "text-delta", "text-end", "finish-step", "finish"]
    assert (kinds(told), told[0]["messageId"]) == (rest, waiting["id"])
    assert told[3]["delta"] == 'It is [1,"Bonn"].'
    assert await page.give(waiting, output="another") == told
    again = parts((await served.http.get("/api/chat/tool-1/stream")).text)
    call = ["tool-input-start", "tool-input-delta", "tool-output-available"]
    assert kinds(again) == ["start", "start-step", *call, *call, "finish-step", *rest[1:]]
    assert again[0]["messageId"] == waiting["id"]
    assert again[7]["output"] == [1, "Bonn"]
    last = await page.last()
    assert (last["id"], last["metadata"]) == (waiting["id"], told[0]["messageMetadata"])
    await page.post(said("q", "Where?"), last, said("q2", "And now?"))
    tree = (await served.get("/api/chats"))["chats"][0]
    messages = (await served.get(f"/api/chats/{tree['id']}/messages"))["messages"]
    roles = ["user", "assistant", "tool", "assistant", "user", "assistant"]
    assert [message["role"] for message in messages] == roles
    assert [one["parent_id"] for one in messages[1:]] == [one["id"] for one in messages[:-1]]


@pytest.mark.parametrize("output", ["5", '{"a": 1}', "plain", None, {"a": ["é"]}, ""])
async def test_an_output_is_told_as_it_was_given(served, output):
    page = Page(served, f"tool-as-{output}")
    await page.give(await page.begin(), output=output)
    assert (await page.last())["parts"][2]["output"] == output


async def test_a_tool_that_failed_is_told_to_the_agent_and_shown_as_failed(served):
    page = Page(served, "tool-failed")
    told = await page.give(await page.begin(), state="output-error", errorText="No signal.")
    assert told[3]["delta"] == "It is No signal.."
    failed = (await page.last())["parts"][2]
    assert (failed["state"], failed["errorText"]) == ("output-error", "No signal.")
    again = parts((await served.http.get("/api/chat/tool-failed/stream")).text)
    assert again[7] == {
        "type": "tool-output-error",
        "toolCallId": failed["toolCallId"],
        "errorText": "No signal.",
    }


async def test_two_tabs_that_give_an_output_get_one_answer(served, monkeypatch):
    """Guard: the key of `_go_on`; the tool's output is the question, and it is asked once."""
    page = Page(served, "tool-twice")
    waiting = await page.begin()
    store, both = served.core.store, asyncio.Barrier(2)
    read = store.messages

    async def messages(chat_id: str, user_id: str) -> Any:
        tree = await read(chat_id, user_id)
        await both.wait()  # neither has seen what the other one gives
        return tree

    with monkeypatch.context() as changed:
        changed.setattr(store, "messages", messages)
        told = await asyncio.gather(*(page.give(waiting, output=city) for city in ("Bonn", "Rome")))
    assert told[0] == told[1]


@pytest.mark.parametrize("change", [{"toolCallId": "call_none"}, {"state": "input-available"}])
async def test_what_no_answer_waits_for_is_refused(served, change):
    """The agent's own tool has its output: the page's is not waited for."""
    page = Page(served, f"tool-refused-{change}")
    waiting = await page.begin()
    sentence = "No answer here waits for such an output."
    assert await page.give(waiting, output="x", **change) == [{"refused": sentence}]
    (refused,) = await page.post({**waiting, "parts": [{"type": "text", "text": "x"}]})
    assert refused["refused"] == "The last message is no question."
    (refused,) = await page.post(said("q2", "x"), tools=[{"type": "function"}])
    assert refused["refused"] == "Missing required parameter: 'tools[0].name'."


async def test_the_first_step_is_told_of_to_older_clients_as_well(served):
    """Guard: `max(1, attempt)`. Without it `ai` 6 takes a call and what followed for one step."""
    headers = {"X-AI-SDK-Version": "6"}
    body = {"id": "steps", "messages": [QUESTION], "agent_id": "echo"}
    told = parts((await served.http.post("/api/chat", json=body, headers=headers)).text)
    assert kinds(told)[:2] == ["start", "start-step"]


async def test_without_tools_of_its_own_the_page_may_answer_any_open_call(served):
    """The agent has its tools from its settings; then their calls have no types of the page."""
    page = Page(served, "tool-dynamic")
    waiting = await page.begin(tools=None)
    assert waiting["parts"][-1]["type"] == "dynamic-tool"
    told = await page.give(waiting, output="Bonn")
    assert told[3]["delta"] == "It is Bonn."
