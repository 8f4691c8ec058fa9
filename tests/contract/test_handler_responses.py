"""The Responses handler: what it reads, what it sends, and how it re-attaches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from perdure.deltas import Annotation, Delta, Finish, Marked, Reasoning, Text, ToolCall, ToolResult
from perdure.errors import UpstreamError
from perdure.handlers.agent_log import AgentLog
from perdure.handlers.responses import ResponsesHandler
from perdure.ports import Call

WHOLE = "w0 w1 w2 w3 "
IDS = {"request_id": "resp_1", "chat_id": "chat_1", "user_id": "u", "agent_id": "a"}


def read(*events: dict[str, Any], **options: Any) -> list[Delta]:
    log = AgentLog(**options)
    found: list[Delta] = [delta for e in events for delta in log.read(json.dumps(e).encode())]
    return [*found, log.finish] if log.finish else found


def delta(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "item_id": "m", "delta": text, **more}


def done(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response.output_item.done", "item": item}


def message(text: str, **more: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": [], **more}]
    return {"type": "message", "id": "m", "role": "assistant", "content": content}


COMPLETED = {"type": "response.completed", "response": {"id": "r", "output": []}}


def test_a_text_that_is_told_again_when_it_is_done_counts_once():
    assert read(delta("Hel"), delta("lo"), done(message("Hello"))) == [
        Text("Hel", "m"),
        Text("lo", "m"),
    ]


def test_what_was_left_out_is_taken_from_the_whole_item():
    assert read(delta("Hel"), done(message("Hello"))) == [Text("Hel", "m"), Text("lo", "m")]
    assert read(done(message("Hello"))) == [Text("Hello", "m")]


def test_an_answer_only_in_the_last_event_is_taken_from_it():
    last = {"type": "response.completed", "response": {"output": [message("Hello")]}}
    assert read(last) == [Text("Hello", "m"), Finish("stop")]


def test_a_known_answer_in_the_last_event_is_not_told_twice_under_another_id():
    other = {**message("Hello"), "id": "other"}
    last = {"type": "response.completed", "response": {"output": [other]}}
    assert read(delta("Hello"), last) == [Text("Hello", "m"), Finish("stop")]


@pytest.mark.parametrize("name", ["reasoning_summary_text", "reasoning_text", "reasoning"])
def test_reasoning_has_three_names(name):
    event = {"type": f"response.{name}.delta", "item_id": "r", "delta": "hm"}
    assert read(event) == [Reasoning("hm", "r")]


@pytest.mark.parametrize("name", ["response.completed", "response.done", "responses.completed"])
def test_the_end_has_three_names(name):
    assert read({"type": name, "response": {}}) == [Finish("stop")]


@pytest.mark.parametrize(
    ("reason", "means"),
    [
        *[("max_output_tokens", "length"), ("max_messages", "length"), ("steered", "length")],
        ("content_filter", "content_filter"),
    ],
)
def test_an_incomplete_answer_says_why(reason, means):
    cut = {"incomplete_details": {"reason": reason}}
    assert read({"type": "response.incomplete", "response": cut}) == [Finish(means)]


def test_a_whole_item_that_differs_from_what_was_told_changes_nothing():
    """Guard: `_differs`; the rest behind as many characters would be spliced to another text."""
    assert read(delta(" Hel"), delta("lo"), done(message("Hello, you"))) == [
        Text(" Hel", "m"),
        Text("lo", "m"),
    ]


async def test_an_end_before_the_last_event_is_a_drop():
    async with serving(Far(drop_at=3), background=False) as handler:
        with pytest.raises(UpstreamError) as dropped:
            [one async for one in handler.stream(call())]
    assert (dropped.value.code, dropped.value.retryable) == ("upstream_dropped", True)


CALL = {"type": "function_call", "id": "f", "call_id": "c", "name": "find", "arguments": ""}


def test_tool_calls_and_results_are_told_once():
    events = (
        {"type": "response.output_item.added", "item": CALL},
        {"type": "response.function_call_arguments.delta", "item_id": "f", "delta": "{"},
        {"type": "response.function_call_arguments.delta", "item_id": "f", "delta": "}"},
        done({**CALL, "arguments": "{}"}),
        done({"type": "function_call_output", "call_id": "c", "output": "rain"}),
        COMPLETED,
    )
    assert read(*events) == [
        ToolCall("f", "{", "find", "c"),
        ToolCall("f", "}", "find", "c"),
        ToolResult("c", "rain"),
        Finish("stop"),
    ]
    assert read(*events, whole_calls=True) == [
        ToolCall("f", "{}", "find", "c"),
        ToolResult("c", "rain"),
        Finish("stop"),
    ]


def test_citations_are_passed_on():
    cited: dict[str, object] = {"type": "url_citation", "url": "http://a", "title": "A"}
    event = {"type": "response.output_text.annotation.added", "item_id": "m", "annotation": cited}
    assert read(event) == [Annotation(cited)]
    assert read(done(message("A", annotations=[cited]))) == [Text("A", "m"), Annotation(cited)]


def test_a_failure_is_an_error_with_the_servers_words():
    failed = {"type": "response.failed", "response": {"error": {"code": "c", "message": "No."}}}
    with pytest.raises(UpstreamError, match="No"):
        read(delta("x"), failed)


def test_what_is_unknown_passes_by():
    assert read({"type": "keepalive", "sequence_number": 7}, {"n": 1}, {"type": "x.delta"}) == []


class Far:
    """A Responses server whose log is `EVENTS`; it drops, forgets and refuses as it is told."""

    def __init__(self, **how: Any) -> None:
        self.how = how
        self.posts: list[dict[str, Any]] = []
        self.gets: list[str] = []
        self.cancelled = 0

    EVENTS = (
        {"type": "response.created", "response": {"id": "resp_up"}},
        *(delta(f"w{n} ") for n in range(4)),
        {"type": "response.completed", "response": {"id": "resp_up", "output": [message(WHOLE)]}},
    )

    async def _stream(self, request: web.Request, first: int) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        stop = self.how.get("drop_at") if not self.gets else None
        for number, event in list(enumerate(self.EVENTS))[first:stop]:
            data = json.dumps({**event, "sequence_number": number})
            await response.write(f"event: {event['type']}\ndata: {data}\n\n".encode())
        await response.write_eof()
        return response

    async def create(self, request: web.Request) -> web.StreamResponse:
        self.posts.append(await request.json())
        return await self._stream(request, 0)

    async def retrieve(self, request: web.Request) -> web.StreamResponse:
        self.gets.append(request.path_qs)
        if self.how.get("forgets"):
            return web.json_response({"error": {"message": "unknown"}}, status=404)
        if "stream" not in request.query:
            ended = len([one for one in self.gets if "stream" not in one]) > 1
            text = WHOLE if ended else "w0 w1 w2 "
            status = "completed" if ended else "in_progress"
            looked = {"id": "resp_up", "status": status, "output": [message(text)]}
            return web.json_response(looked, headers=self.how.get("headers"))
        if self.how.get("no_streams"):
            return web.json_response({"error": {"message": "not a stream"}}, status=400)
        return await self._stream(request, int(request.query["starting_after"]) + 1)

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        self.cancelled += 1
        return web.json_response({})


@asynccontextmanager
async def serving(far: Far, *, background: bool = True) -> AsyncIterator[ResponsesHandler]:
    app = web.Application()
    app.router.add_post("/v1/responses", far.create)
    app.router.add_get("/v1/responses/{id}", far.retrieve)
    app.router.add_post("/v1/responses/{id}/cancel", far.cancel)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    handler = ResponsesHandler(
        f"http://127.0.0.1:{port}/v1", "up", "key", background=background, poll_s=0.01
    )
    try:
        yield handler
    finally:
        await handler.close()
        await runner.cleanup()


def call(**more: Any) -> Call:
    items = [{"type": "message", "role": "user", "content": "Hello?"}]
    return Call(**{**IDS, "messages": [], "items": items, **more})


async def text_of(handler: ResponsesHandler, told: Call, marks: list[Any] | None = None) -> str:
    text = ""
    async for one in handler.stream(told):
        if isinstance(one, Marked):
            text += "".join(inner.text for inner in one.deltas if isinstance(inner, Text))
            if marks is not None:
                marks.append((one.position, text))
    return text


async def test_it_asks_in_the_background_and_marks_each_piece():
    far, marks = Far(), list[Any]()
    async with serving(far) as handler:
        params = {"tools": [], "temperature": 1, "store": True, "previous_response_id": "resp_0"}
        assert await text_of(handler, call(params=params), marks) == WHOLE
    (body,) = far.posts
    assert (body["background"], body["store"], body["stream"]) == (True, True, True)
    assert body["input"] == [{"type": "message", "role": "user", "content": "Hello?"}]
    assert body["temperature"] == 1
    assert "previous_response_id" not in body
    assert marks[0] == ({"id": "resp_up", "sequence_number": 0, "told": {}}, "")


@pytest.mark.parametrize("seen", range(5))
async def test_it_goes_on_from_every_mark_and_asks_nobody_again(seen):
    """Guard: a mark is stored with its deltas; `starting_after` is exclusive."""
    far, marks = Far(), list[Any]()
    async with serving(far) as handler:
        await text_of(handler, call(), marks)
        position, text = marks[seen]
        far.gets.clear()
        assert text + await text_of(handler, call(upstream=position, attempt=2)) == WHOLE
    assert len(far.posts) == 1
    assert far.gets == [
        f"/v1/responses/resp_up?stream=true&starting_after={position['sequence_number']}"
    ]


@pytest.mark.parametrize("drop_at", range(1, 6))
async def test_a_dropped_stream_is_taken_up_where_it_broke(drop_at):
    far = Far(drop_at=drop_at)
    async with serving(far) as handler:
        assert await text_of(handler, call()) == WHOLE
    assert (len(far.posts), len(far.gets)) == (1, 1)


@pytest.mark.parametrize("drop_at", range(1, 6))
async def test_where_it_cannot_be_followed_it_is_polled_and_the_rest_is_told(drop_at):
    far = Far(drop_at=drop_at, no_streams=True)
    async with serving(far) as handler:
        assert await text_of(handler, call()) == WHOLE
    assert len(far.posts) == 1


@pytest.mark.parametrize(("told", "least_s"), [("300", 0.3), ("soon", 0), (None, 0)])
async def test_a_server_may_say_when_to_look_again(told, least_s):
    headers = {} if told is None else {"openai-poll-after-ms": told}
    begun = asyncio.get_running_loop().time()
    async with serving(Far(drop_at=2, no_streams=True, headers=headers)) as handler:
        assert await text_of(handler, call()) == WHOLE
    assert asyncio.get_running_loop().time() - begun >= least_s


async def test_a_server_that_forgot_says_so_with_a_code_of_its_own():
    async with serving(Far(forgets=True)) as handler:
        position = {"id": "resp_up", "sequence_number": 2, "told": {"m": 6}}
        with pytest.raises(UpstreamError) as error:
            await text_of(handler, call(upstream=position))
    assert error.value.code == "upstream_forgot"


async def test_stopping_stops_the_servers_own_run():
    far = Far()
    async with serving(far) as handler:
        await handler.stop({"id": "resp_up"})
    assert far.cancelled == 1


def added(item: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "response.output_item.added", "item": item, **more}


def function_call(item_id: str, **more: Any) -> dict[str, Any]:
    return {"type": "function_call", "id": item_id, "call_id": "c1", "name": "find", **more}


def said(deltas: list[Delta]) -> str:
    return "".join(one.text for one in deltas if isinstance(one, Text))


# Other ids and no place would be three items.
NAMED = [
    (names, placed)
    for names in (("m1", "m2", "m3"), ("", "", "m"), ("m", "", ""), ("", "", ""))
    for placed in (True, False)
    if placed or names[0] != "m1"
]


@pytest.mark.parametrize(("names", "placed"), NAMED)
@pytest.mark.parametrize("announced", [True, False])
def test_a_text_counts_once_whatever_its_events_call_it(names, placed, announced):
    """Guard: `ItemKeys`; by ids alone what is told whole at the end would be told once more.

    Some servers give each event an id of its own, some leave ids out of the deltas.
    """
    place = {"output_index": 0} if placed else {}
    first, second, whole = names
    events = [
        added({**message(""), "id": first}, **place),
        delta("Hel", **place, item_id=first),
        delta("lo", **place, item_id=second),
        {**done({**message("Hello"), "id": whole}), **place},
        {**done({**message(" you"), "id": "another"}), **place, "output_index": 1},
        COMPLETED,
    ]
    assert said(read(*events[0 if announced else 1 :])) == "Hello you"


@pytest.mark.parametrize("place", [{"output_index": 1}, {}])
def test_a_call_counts_once_when_its_id_changes(place):
    """Guard: the call's own id, or its place, in `ItemKeys`."""
    told = read(
        added(function_call("f1"), **place),
        {
            "type": "response.function_call_arguments.delta",
            "item_id": "f1",
            "delta": '{"a":',
            **place,
        },
        {**done(function_call("f2", arguments='{"a":1}')), **place},
        COMPLETED,
    )
    calls = [one for one in told if isinstance(one, ToolCall)]
    assert len({one.key for one in calls}) == 1
    assert "".join(one.arguments for one in calls) == '{"a":1}'


def test_two_calls_with_ids_that_an_agent_repeats_are_two():
    events = [done(function_call(name, arguments="{}")) for name in ("f1", "f2")]
    assert len({one.key for one in read(*events) if isinstance(one, ToolCall)}) == 2


def test_texts_without_any_name_follow_each_other():
    place = {"output_index": 0}
    events = [
        {**one, **place, "item_id": ""}
        for text in ("One.", "Two.")
        for one in (delta(text), done({**message(text), "id": ""}))
    ]
    assert said(read(*events)) == "One.Two."


def test_a_call_that_only_the_last_event_tells_is_told():
    output = [message("Hello"), function_call("f", arguments="{}")]
    last = {"type": "response.completed", "response": {"output": output}}
    told = read(delta("Hello"), last)
    assert [type(one) for one in told] == [Text, ToolCall, Finish]
    assert len(read(*map(done, output), last)) == 3, "and only then"


@pytest.mark.parametrize("kind", ["response.done", "response.completed"])
def test_an_end_that_says_failed_is_a_failure(kind):
    failed = {"status": "failed", "error": {"message": "Out of memory."}, "output": []}
    with pytest.raises(UpstreamError, match="Out of memory"):
        read(delta("Hel"), {"type": kind, "response": failed})


def test_an_end_that_says_incomplete_without_a_reason_was_cut():
    last = {"type": "response.done", "response": {"status": "incomplete", "output": []}}
    assert read(delta("Hel"), last)[-1] == Finish("length")


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (done({**message(""), "content": "Hello"}), "Hello"),
        ({"type": "response.created", "response": None}, ""),
        ({"type": None}, ""),
    ],
)
def test_what_is_a_little_wrong_is_borne(event, text):
    assert said(read(event)) == text


@pytest.mark.parametrize("arguments", [{"a": 1}, '{"a":1}'])
@pytest.mark.parametrize("kind", ["function_call", "mcp_approval_request"])
def test_arguments_may_come_as_an_object(kind, arguments):
    (told,) = read(done({**function_call("f", arguments=arguments), "type": kind}))
    assert isinstance(told, ToolCall)
    assert told.arguments == '{"a":1}'


@pytest.mark.parametrize("output", [[{"type": "function_call"}], ["x"], [{"type": "message"}, 1]])
def test_a_whole_answer_that_is_not_one_is_garbage(output):
    with pytest.raises(UpstreamError) as raised:
        AgentLog().read_whole({"output": output})
    assert raised.value.code == "upstream_garbage"


def test_a_frame_that_is_nested_too_deeply_is_garbage():
    with pytest.raises(UpstreamError) as raised:
        AgentLog().read(b'{"a":' + b"[" * 100_000)
    assert raised.value.code == "upstream_garbage"


@pytest.mark.parametrize(("background", "kept"), [(False, False), (True, True)])
async def test_what_the_caller_wants_nobody_to_keep_its_server_keeps_neither(background, kept):
    """A server that goes on by itself must keep it: that is how it is asked again."""
    far = Far()
    async with serving(far, background=background) as handler:
        await text_of(handler, call(params={"store": False}))
    assert far.posts[0]["store"] is kept
