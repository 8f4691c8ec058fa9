"""Admins: they see and stop everyone's requests and what these cost, and read nobody's words."""

import pytest

from perdure.settings import Auth
from tests.flow.serving import serving


@pytest.fixture
async def people(tmp_path):
    """Serve Alice and Bob, and Olga, who looks after the server."""
    auth = Auth(mode="proxy", admins=["olga"], admin_groups=["operators"])
    async with serving(tmp_path, auth=auth) as server:
        made = [server.other(name) for name in ("alice", "bob", "olga")]
        yield made
        for one in made:
            await one.http.aclose()


async def test_in_mode_none_the_one_person_is_the_admin(tmp_path):
    async with serving(tmp_path) as server:
        assert (await server.get("/api/me"))["admin"] is True
        assert (await server.get("/api/admin/requests"))["requests"] == []


async def test_an_admin_is_one_by_name_or_by_group(people):
    alice, _, olga = people
    assert (await olga.get("/api/me"))["admin"] is True
    assert (await alice.get("/api/me"))["admin"] is False
    headers = {"X-Forwarded-Groups": "staff, operators"}
    assert (await alice.http.get("/api/me", headers=headers)).json()["admin"] is True
    headers = {"X-Forwarded-Groups": "operators2"}
    assert (await alice.http.get("/api/me", headers=headers)).json()["admin"] is False


async def test_others_get_the_same_no_for_every_admin_call(people):
    """Guard: `admin_of` on each route of `routers/admin`."""
    alice, bob, _ = people
    asked = await bob.asked_and_ended()
    document = (await alice.http.get("/openapi.json")).json()
    calls = [
        (method, path)
        for path, methods in document["paths"].items()
        for method in methods
        if path.startswith("/api/admin/")
    ]
    assert len(calls) >= 4
    for method, path in calls:
        for request_id in (asked["request_id"], "resp_" + "0" * 24):
            response = await alice.http.request(method, path.format(request_id=request_id))
            assert (response.status_code, response.json()["code"]) == (403, "admin_only"), path


async def test_everyones_requests_are_listed_without_their_words(people):
    alice, bob, olga = people
    first = await alice.asked_and_ended("alice's secret")
    second = await bob.asked_and_ended("bob's secret", "broken")
    page = await olga.get("/api/admin/requests")
    assert [(one["id"], one["user_id"]) for one in page["requests"]] == [
        (second["request_id"], "bob"),
        (first["request_id"], "alice"),
    ]
    assert page["requests"][0]["error"]["code"] == "agent_error"
    assert "secret" not in str(page)
    only = await olga.get("/api/admin/requests", user="alice", status="completed")
    assert [one["user_id"] for one in only["requests"]] == ["alice"]
    part = await olga.get("/api/admin/requests", limit=1)
    rest = await olga.get("/api/admin/requests", cursor=part["next_cursor"])
    assert [one["id"] for one in rest["requests"]] == [first["request_id"]]


async def test_an_admin_stops_and_repeats_anybodys_answer_for_its_owner(people):
    alice, _, olga = people
    asked = await alice.ask("hello", "steered")
    alice.steered.say("so far")
    await alice.shown(asked["request_id"], "so far")
    path = f"/api/admin/requests/{asked['request_id']}"
    stopped = await olga.http.post(f"{path}/cancel")
    assert (stopped.status_code, stopped.json()["status"]) == (200, "cancelled")
    assert (await alice.status(asked["request_id"]))["partial_content"] == "so far"
    again = await olga.http.post(f"{path}/retry")
    assert (again.status_code, again.json()["user_id"]) == (202, "alice")
    alice.steered.say("anew")
    alice.steered.end()
    assert (await alice.ended(again.json()["id"]))["final_response"] == "anew"


async def test_usage_is_summed_by_person_and_agent(people):
    alice, bob, olga = people
    await alice.asked_and_ended()
    await alice.asked_and_ended("x", "broken")
    await bob.asked_and_ended()
    found = (await olga.get("/api/admin/usage", days=1))["usage"]
    told = {(one["user_id"], one["agent_id"]): one for one in found}
    assert told.keys() == {("alice", "echo"), ("alice", "broken"), ("bob", "echo")}
    failed = told["alice", "broken"]
    assert (failed["requests"], failed["completed"], failed["failed"]) == (1, 0, 1)
