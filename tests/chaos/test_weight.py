"""Long answers, long chats and readers that never read cost what they should."""

import asyncio
import contextlib
import itertools
import socket
import statistics
from pathlib import Path

import pytest

from tests.world.waiting import eventually
from tests.world.world import World, whole

MIB = 2**20


def cpu_s(pid):
    """Return the processor time of all threads of a process, in seconds (Linux)."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text("ascii").split()[0]) for task in tasks) / 1e9


async def cpu_per_chunk(world, call, marks):
    """Return the processor time per chunk between each two numbers of chunks."""
    seen = []
    for mark in marks:
        await written(call, mark)
        seen.append((call.chunks, cpu_s(world.server.pid)))
    return [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(seen)]


async def written(call, chunks):
    """Wait until the upstream has written so many chunks."""

    async def there():
        return call.chunks >= chunks

    what = f"chunk {chunks} is written"
    await eventually(there, within_s=30, what=what, every_s=0.005)


async def measured(world, script, marks, **more):
    request_id = await world.ask(script, **more)
    world.follow("sse", request_id)
    costs = await cpu_per_chunk(world, await world.called(script["name"]), marks)
    await world.api.ended(request_id)
    return costs


@pytest.mark.timeout(120)
async def test_a_chunk_costs_the_same_late_in_a_200_kb_answer_of_a_2000_message_chat(tmp_path, rng):
    """Promise 9, figure F11. Guard: nothing rewrites the text or the chat per token."""
    history = [
        {"role": ("user", "assistant")[number % 2], "content": f"message {number} " + "x" * 100}
        for number in range(2000)
    ]
    answer = {"chunks": 800, "size": 250, "rate": 250}
    marks = [50, 200, 350, 500, 650, 790]
    async with World(tmp_path, rng) as world:
        short = await measured(world, {**answer, "name": "short"}, marks)
        first = {"role": "user", "content": '{"name": "seed", "chunks": 1} please'}
        body = {"messages": [*history, first]}
        seeded = await world.api.http.post("/api/invoke_endpoint", json=body)
        assert seeded.status_code == 202, seeded.text
        await world.api.ended(world.remember(seeded.json(), {"chunks": 1}))
        script = {**answer, "name": "long"}
        long = await measured(world, script, marks, chat_id=seeded.json()["chat_id"])
        assert len(world.calls("long")[0].body["messages"]) >= 2000
        assert statistics.median(long) <= 1.6 * statistics.median(short), (long, short)
        assert statistics.mean(long[-2:]) <= 1.6 * statistics.mean(long[:2]), long
        await world.judge_complete()


@pytest.mark.timeout(120)
async def test_thirty_readers_that_never_read_hold_bounded_memory_and_slow_nobody(tmp_path, rng):
    """Promise 9. Guard: a reader is a cursor; what it does not take stays in the store."""
    script = {"name": "big", "chunks": 6000, "size": 500, "rate": 1500}
    async with World(tmp_path, rng) as world:
        await world.ask({"name": "warm", "chunks": 500})
        request_id = await world.ask({**script, "ttft_s": 1})
        await world.called("big")
        before = world.server.memory_bytes()
        with deaf_readers(world, request_id, 30):
            reader = world.follow("sse", request_id)
            await world.closed(world.calls("big")[0], within_s=60)
            grown = world.server.memory_bytes() - before
            await asyncio.wait_for(asyncio.shield(world.followers[0]), 10)
        assert grown < 45 * MIB, f"grew by {grown / MIB:.0f} MiB"
        assert reader.record.over
        log = (await world.judge_complete())[request_id]
        assert len(log.text) == len(whole(script))


@contextlib.contextmanager
def deaf_readers(world, request_id, count):
    """Attach sockets that ask for the stream and never read a byte of it."""
    sockets = []
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            deaf = stack.enter_context(socket.socket())
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", world.server.port))
            target = f"/api/requests/{request_id}/stream"
            deaf.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            sockets.append(deaf)
        yield sockets


async def test_a_reader_that_takes_nothing_for_long_is_let_go(tmp_path, rng):
    """Facts §5: each write is bounded. Guard: `stream_write_timeout_s`."""
    script = {"name": "big", "chunks": 6000, "size": 500}
    async with World(tmp_path, rng, top={"keepalive_s": 1, "stream_write_timeout_s": 1}) as world:
        request_id = await world.ask(script)
        with deaf_readers(world, request_id, 1) as deaf:
            port = deaf[0].getsockname()[1]
            assert connected(world.server.port, port)

            async def let_go():
                return not connected(world.server.port, port)

            await eventually(let_go, within_s=20, what="the server hangs up on a deaf reader")
        await world.judge_complete()


def connected(server_port, client_port):
    """Tell whether the server's side of a connection is still open (Linux)."""
    ends = f"0100007F:{server_port:04X} 0100007F:{client_port:04X} 01"
    return ends in Path("/proc/net/tcp").read_text("ascii")
