"""The WebSocket of one request, as the sketch uses it and as a re-attaching client does."""

import json

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.flow.serving import serving


@pytest.fixture
async def server(tmp_path):
    async with serving(tmp_path) as served:
        yield served


def path_of(accepted, query=""):
    return f"/api/requests/{accepted['request_id']}/stream{query}"


async def all_of(socket):
    """Return all messages until the close, and its code."""
    found = []
    try:
        while True:
            found.append(json.loads(await socket.recv()))
    except ConnectionClosed:
        return found, socket.close_code


async def test_the_socket_sketch_is_told_when_it_is_completed(server):
    """`wss://…/requests/{id}/stream`: a message whose status is completed carries the answer."""
    accepted = await server.ask("hi", "steered")
    server.steered.say("one ", "two")
    server.steered.end()
    done = []
    async with server.socket(f"/requests/{accepted['request_id']}/stream") as socket:
        async for text in socket:
            message = json.loads(text)
            assert message["status"]
            if message["status"] == "completed":
                done.append(message)
    assert [(one["final_response"], one["trace_id"]) for one in done] == [("one two", None)]


async def test_first_a_snapshot_then_each_event_after_it_then_the_end(server):
    accepted = await server.ask("hi", "steered")
    server.steered.say("one ")
    at = (await server.shown(accepted["request_id"], "one "))["sequence_number"]
    async with server.socket(path_of(accepted)) as socket:
        first = json.loads(await socket.recv())
        assert first == {"status": "streaming", "partial_content": "one ", "sequence_number": at}
        server.steered.say("two")
        server.steered.end()
        (*between, last), code = await all_of(socket)
    numbers = [message["event"]["sequence_number"] for message in between]
    assert numbers == list(range(at + 1, last["sequence_number"] + 1))
    assert {message["status"] for message in between} == {"streaming"}
    assert (last["status"], last["final_response"], last["error"]) == ("completed", "one two", None)
    assert code == 1000


async def test_with_a_cursor_there_is_no_snapshot(server):
    accepted = await server.asked_and_ended()
    async with server.socket(path_of(accepted, "?after=0")) as socket:
        messages, _ = await all_of(socket)
    assert messages[0]["event"]["sequence_number"] == 1
    assert messages[-1]["status"] == "completed"


async def test_a_finished_answer_is_one_message(server):
    accepted = await server.asked_and_ended()
    async with server.socket(path_of(accepted)) as socket:
        messages, code = await all_of(socket)
    assert [message["final_response"] for message in messages] == ["hello"]
    assert code == 1000


async def test_at_the_end_of_a_finished_log_only_the_end_is_told(server):
    accepted = await server.asked_and_ended()
    last = (await server.status(accepted["request_id"]))["sequence_number"]
    async with server.socket(path_of(accepted, f"?after={last}")) as socket:
        messages, code = await all_of(socket)
    assert [message["status"] for message in messages] == ["completed"]
    assert code == 1000


async def test_a_failure_carries_its_error(server):
    accepted = await server.ask("hi", "broken")
    async with server.socket(path_of(accepted)) as socket:
        messages, _ = await all_of(socket)
    assert messages[-1]["status"] == "failed"
    assert messages[-1]["error"]["code"] == "agent_error"


async def test_the_socket_can_stop_the_answer(server):
    accepted = await server.ask("hi", "steered")
    server.steered.say("so far")
    await server.shown(accepted["request_id"], "so far")
    async with server.socket(path_of(accepted)) as socket:
        await socket.send('{"op": "cancel"}')
        messages, code = await all_of(socket)
    assert (messages[-1]["status"], messages[-1]["partial_content"]) == ("cancelled", "so far")
    assert code == 1000


@pytest.mark.parametrize(
    "said", ["", "{", "[]", "5", '{"op": 1}', b"\xff", b'{"\xff": 1}', "[" * 5000]
)
async def test_what_the_socket_does_not_understand_is_answered_and_changes_nothing(server, said):
    accepted = await server.ask("hi", "steered")
    async with server.socket(path_of(accepted, "?after=100")) as socket:
        await socket.send(said)
        assert json.loads(await socket.recv())["error"]["code"] == "unknown_op"
        server.steered.end()
        messages, _ = await all_of(socket)
    assert messages[-1]["status"] == "completed"


async def test_closing_the_socket_changes_nothing(server):
    accepted = await server.ask("hi", "steered")
    async with server.socket(path_of(accepted)) as socket:
        await socket.recv()
    server.steered.say("still here")
    server.steered.end()
    assert (await server.ended(accepted["request_id"]))["final_response"] == "still here"


@pytest.mark.parametrize("path", ["/api/requests/resp_unknown/stream", "/requests/%00/stream"])
async def test_an_unknown_request_is_told_inside_the_socket(server, path):
    """A browser cannot see why a handshake was refused."""
    async with server.socket(path) as socket:
        messages, code = await all_of(socket)
    assert [message["error"]["status"] for message in messages] == [404]
    assert code == 4404


async def test_a_cursor_that_is_no_number_is_told_inside_the_socket(server):
    accepted = await server.asked_and_ended()
    async with server.socket(path_of(accepted, "?after=x")) as socket:
        messages, code = await all_of(socket)
    assert messages[0]["error"]["code"] == "invalid_cursor"
    assert code == 4400


async def test_an_empty_cursor_is_none(server):
    accepted = await server.asked_and_ended()
    async with server.socket(path_of(accepted, "?after=")) as socket:
        messages, code = await all_of(socket)
    assert ([message["final_response"] for message in messages], code) == (["hello"], 1000)


async def test_pruned_events_are_told_inside_the_socket(server):
    accepted = await server.asked_and_ended()
    await server.core.store.prune(events_s=1e-6, requests_s=0, chats_s=0)
    async with server.socket(path_of(accepted, "?after=2")) as socket:
        messages, code = await all_of(socket)
    assert messages[-1]["error"]["code"] == "events_pruned"
    assert code == 4410


async def test_a_draining_server_asks_to_come_back(server):
    accepted = await server.ask("hi", "steered")
    async with server.socket(path_of(accepted)) as socket:
        await socket.recv()
        server.core.tails.drain()
        messages, code = await all_of(socket)
    assert all(message["status"] == "streaming" for message in messages)
    assert code == 1012


async def test_pages_of_other_sites_get_no_socket(server):
    accepted = await server.asked_and_ended()
    headers = {"Origin": "https://evil.example"}
    with pytest.raises(InvalidStatus) as refused:
        async with server.socket(path_of(accepted), headers=headers):
            pass
    assert refused.value.response.status_code == 403
