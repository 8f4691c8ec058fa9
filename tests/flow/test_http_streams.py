"""Server-sent events of one request: frames, cursors, ends, and readers that misbehave."""

import asyncio
import json
import socket

import pytest

from tests.flow.serving import events_of, serving
from tests.world.waiting import eventually


@pytest.fixture
async def server(tmp_path):
    async with serving(tmp_path) as served:
        yield served


def path_of(accepted, query=""):
    return f"/api/requests/{accepted['request_id']}/stream{query}"


async def whole(server, path, **headers):
    """Return the events of a stream that ended as it should."""
    response = await server.stream(path, **headers)
    body = await response.body()
    assert (response.status, response.ended) == (200, "whole")
    await response.close()
    return events_of(body)


async def until(response, text):
    """Read a stream until a piece of text came; return all that was read."""
    seen = b""
    async for block in response.blocks():
        seen += block
        if text.encode() in seen:
            return seen
    raise AssertionError(f"ended without {text!r}: {seen!r}")


async def test_a_stream_is_told_as_proxies_and_browsers_need_it(server):
    accepted = await server.asked_and_ended()
    response = await server.stream(path_of(accepted))
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert response.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in response.headers
    assert "content-length" not in response.headers
    await response.body()
    await response.close()


async def test_the_first_bytes_come_before_the_first_event(server):
    """Some proxies hold the headers back until there is a body."""
    accepted = await server.ask("hi", "steered")
    response = await server.stream(path_of(accepted, "?after=1"))
    assert await until(response, "\n\n") == b": stream\n\n"
    response.drop()


async def test_a_live_stream_ends_with_the_terminal_event_and_nothing_after_it(server):
    accepted = await server.ask("hi", "steered")
    following = asyncio.create_task(whole(server, path_of(accepted)))
    server.steered.say("one ", "two")
    server.steered.end()
    events = await following
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] == "response.completed"
    assert "".join(event.get("delta", "") for event in events) == "one two"


async def test_the_path_without_api_is_the_same(server):
    accepted = await server.asked_and_ended()
    short = path_of(accepted).removeprefix("/api")
    assert await whole(server, short) == await whole(server, path_of(accepted))


async def test_a_cursor_is_exclusive_and_minus_one_or_none_is_the_start(server):
    accepted = await server.asked_and_ended()
    every = await whole(server, path_of(accepted))
    assert await whole(server, path_of(accepted, "?after=-1")) == every
    assert await whole(server, path_of(accepted, "?after=0")) == every[1:]
    assert await whole(server, path_of(accepted), Last_Event_ID="2") == every[3:]


async def test_last_event_id_wins_over_after(server):
    """A reconnecting EventSource repeats the old address."""
    accepted = await server.asked_and_ended()
    every = await whole(server, path_of(accepted))
    assert await whole(server, path_of(accepted, "?after=0"), Last_Event_ID="3") == every[4:]
    assert await whole(server, path_of(accepted, "?after=abc"), Last_Event_ID="3") == every[4:]
    assert await whole(server, path_of(accepted, "?after=3"), Last_Event_ID="") == every[4:]
    assert await whole(server, path_of(accepted, "?after=")) == every


@pytest.mark.parametrize("cursor", ["x", "-2", "1.5", "٣", "1_0", "9" * 40, "0x1"])
async def test_a_cursor_that_is_no_number_is_refused(server, cursor):
    accepted = await server.asked_and_ended()
    query = await server.http.get(path_of(accepted), params={"after": cursor})
    assert (query.status_code, query.json()["code"]) == (400, "invalid_cursor")
    header = {"Last-Event-ID": cursor.encode()}
    response = await server.http.get(path_of(accepted), headers=header)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_cursor")


async def test_at_the_end_of_a_finished_log_there_is_204(server):
    """204 tells an EventSource not to come back."""
    accepted = await server.asked_and_ended()
    last = (await whole(server, path_of(accepted)))[-1]["sequence_number"]
    for after in (last, last + 1, 2**53 - 1):
        response = await server.http.get(path_of(accepted, f"?after={after}"))
        assert (response.status_code, response.content) == (204, b"")


async def test_pruned_events_are_410_with_a_link_to_the_answer_and_replay_from_the_start(server):
    accepted = await server.asked_and_ended("hello")
    await asyncio.sleep(0)
    await server.core.store.prune(events_s=1e-6, requests_s=0, chats_s=0)
    response = await server.http.get(path_of(accepted, "?after=2"))
    problem = response.json()
    assert (response.status_code, problem["code"]) == (410, "events_pruned")
    assert problem["request_id"] == accepted["request_id"]
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["request"] in response.headers["link"]
    assert (await server.get(problem["request"]))["final_response"] == "hello"
    again = await whole(server, path_of(accepted))
    assert again[-1]["type"] == "response.completed"


async def test_a_silent_stream_shows_that_it_is_alive(tmp_path):
    async with serving(tmp_path, keepalive_s=0.5) as server:
        accepted = await server.ask("hi", "steered")
        response = await server.stream(path_of(accepted, "?after=1"))
        seen = await until(response, ": keep-alive\n\n: keep-alive\n\n")
        assert events_of(seen) == []
        response.drop()


async def test_a_window_ends_whole_without_a_terminal_event_and_is_resumed(tmp_path):
    async with serving(tmp_path, stream_max_s=0.3) as server:
        accepted = await server.ask("hi", "steered")
        server.steered.say("one ")
        await server.shown(accepted["request_id"], "one ")
        response = await server.stream(path_of(accepted))
        body = await response.body()
        await response.close()
        first = events_of(body)
        assert response.ended == "whole"
        assert b"\nretry: " in body
        assert first[-1]["type"] != "response.completed"
        server.steered.say("two")
        server.steered.end()
        rest = await whole(server, path_of(accepted), Last_Event_ID=str(len(first) - 1))
        assert [event["sequence_number"] for event in first + rest] == list(
            range(len(first + rest))
        )
        assert rest[-1]["response"]["status"] == "completed"


async def test_a_draining_server_cuts_streams_with_a_hint_and_never_ends_them_whole(server):
    accepted = await server.ask("hi", "steered")
    server.steered.say("one ")
    response = await server.stream(path_of(accepted))
    seen = await until(response, '"one "')
    server.core.tails.drain()
    rest = await response.body()
    assert response.ended == "cut"
    assert b"\nretry: " in b"\n" + rest
    assert events_of(seen + rest)[-1]["type"] != "response.completed"
    await response.close()


async def test_a_draining_server_refuses_new_streams_for_a_moment(server):
    accepted = await server.asked_and_ended()
    server.core.draining = True
    response = await server.http.get(path_of(accepted))
    assert (response.status_code, response.json()["code"]) == (503, "draining")
    assert int(response.headers["retry-after"]) >= 1


async def test_a_chat_deleted_while_it_is_watched_never_looks_completed(server):
    accepted = await server.ask("hi", "steered")
    server.steered.say("one")
    response = await server.stream(path_of(accepted))
    seen = await until(response, '"one"')
    assert (await server.http.delete(f"/api/chats/{accepted['chat_id']}")).status_code == 204
    async with asyncio.timeout(10):
        events = events_of(seen + await response.body())
    assert events[-1]["type"] != "response.completed"
    await response.close()


async def test_leaving_changes_nothing_and_frees_the_reader(tmp_path):
    async with serving(tmp_path, keepalive_s=0.2) as server:
        accepted = await server.ask("hi", "steered")
        responses = [await server.stream(path_of(accepted)) for _ in range(20)]
        await eventually(reading(server, 20), within_s=5, what="20 readers are there")
        for response in responses:
            response.drop()
        await eventually(reading(server, 0), within_s=10, what="no reader is left")
        server.steered.say("still here")
        server.steered.end()
        status = await server.ended(accepted["request_id"])
        assert status["final_response"] == "still here"


def reading(server, count):
    async def as_many():
        return server.core.tails.readers == count

    return as_many


async def test_a_reader_that_takes_nothing_is_cut_off_and_hurts_nobody(tmp_path):
    async with serving(tmp_path, keepalive_s=0.2, stream_write_timeout_s=0.5) as server:
        accepted = await server.ask("hi", "steered")
        stuck = socket.create_connection(("127.0.0.1", server.port))
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line = f"GET {path_of(accepted)} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        stuck.sendall(line.encode())
        await eventually(reading(server, 1), within_s=5, what="the reader is there")
        for _ in range(60):
            server.steered.say("x" * 50_000)
        await eventually(reading(server, 0), within_s=10, what="the stuck reader is given up")
        server.steered.end()
        status = await server.ended(accepted["request_id"])
        assert len(status["final_response"]) == 3_000_000
        stuck.close()


async def test_many_readers_at_any_instant_see_the_same_log(server, rng):
    accepted = await server.ask("hi", "steered")
    readers = []
    for n in range(40):
        server.steered.say(f"{n} ")
        after = rng.choice([-1, 0, 1, rng.randrange(2, 6)])
        path = path_of(accepted, f"?after={after}")
        readers.append((after, asyncio.create_task(whole(server, path))))
        if rng.random() < 0.3:
            await asyncio.sleep(0)
    server.steered.end()
    every = await whole(server, path_of(accepted))
    for after, reader in readers:
        assert json.dumps(await reader) == json.dumps(every[after + 1 :])
