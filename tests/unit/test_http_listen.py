"""Listening to a body: its bytes go to a function, and the caller sleeps until it must act."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.http import HttpClient, Response, ResponseBroken
from tests.unit.test_http import CHUNKED, read_request, serving


class Far:
    """The far end of one response, written by the test piece by piece."""

    def __init__(self) -> None:
        self.writer: asyncio.StreamWriter | None = None
        self.asked = asyncio.Event()
        self.over = asyncio.Event()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        self.writer = writer
        writer.write(CHUNKED)
        self.asked.set()
        await self.over.wait()

    def say(self, *texts: bytes) -> None:
        assert self.writer is not None
        self.writer.write(b"".join(b"%x\r\n%b\r\n" % (len(text), text) for text in texts))

    def end(self) -> None:
        assert self.writer is not None
        self.writer.write(b"0\r\n\r\n")

    def break_off(self) -> None:
        self.over.set()


@asynccontextmanager
async def talking() -> AsyncIterator[tuple[Far, Response]]:
    far, client = Far(), HttpClient()
    async with (
        serving(far.talk) as port,
        client.request("GET", f"http://127.0.0.1:{port}/") as response,
    ):
        yield far, response
    await client.close()


class Ear:
    """A sink that hears so many pieces, and can be waited for."""

    def __init__(self, most: int = 1000) -> None:
        self.heard = b""
        self.calls = 0
        self.most = most
        self.more = asyncio.Event()

    def __call__(self, data: bytes) -> bool:
        self.heard += data
        self.calls += 1
        self.more.set()
        return self.calls < self.most

    async def until(self, length: int) -> None:
        while len(self.heard) < length:
            self.more.clear()
            await asyncio.wait_for(self.more.wait(), 5)


async def test_bytes_reach_the_listener_while_the_caller_sleeps() -> None:
    async with talking() as (far, response):
        ear = Ear()
        listening = asyncio.ensure_future(response.listen(ear))
        await asyncio.sleep(0)
        far.say(b"one ", b"two ")
        await ear.until(8)
        far.say(b"three")
        await ear.until(13)
        assert not listening.done()
        assert ear.heard == b"one two three"
        far.end()
        await listening
        assert await response.receive() == b""


async def test_a_listener_that_has_enough_loses_nothing() -> None:
    async with talking() as (far, response):
        ear = Ear(most=1)
        listening = asyncio.ensure_future(response.listen(ear))
        await asyncio.sleep(0)
        far.say(b"a")
        await listening
        far.say(b"b")
        assert await response.receive() == b"b"
        assert ear.heard == b"a"


async def test_what_came_before_is_received_first() -> None:
    async with talking() as (far, response):
        far.say(b"early")
        assert await response.receive() == b"early"
        far.say(b"late")
        # Until it is received, nobody can listen behind it.
        await asyncio.sleep(0.05)
        ear = Ear()
        await asyncio.wait_for(response.listen(ear), 5)
        assert ear.heard == b""
        assert await response.receive() == b"late"


async def test_a_break_wakes_the_caller_and_receive_tells_it() -> None:
    async with talking() as (far, response):
        ear = Ear()
        listening = asyncio.ensure_future(response.listen(ear))
        await asyncio.sleep(0)
        far.say(b"half")
        await ear.until(4)
        far.break_off()
        await asyncio.wait_for(listening, 5)
        with pytest.raises(ResponseBroken):
            await response.receive()


async def test_what_the_listener_raises_reaches_the_caller() -> None:
    def fail(_: bytes) -> bool:
        raise ValueError("no")

    async with talking() as (far, response):
        listening = asyncio.ensure_future(response.listen(fail))
        await asyncio.sleep(0)
        far.say(b"x")
        with pytest.raises(ValueError, match="no"):
            await asyncio.wait_for(listening, 5)


async def test_a_cancelled_listener_hears_no_more() -> None:
    async with talking() as (far, response):
        ear = Ear()
        listening = asyncio.ensure_future(response.listen(ear))
        await asyncio.sleep(0)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        far.say(b"x")
        assert await response.receive() == b"x"
        assert ear.heard == b""


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    texts=st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=20),
    most=st.integers(min_value=1, max_value=4),
)
async def test_however_a_body_is_taken_it_is_whole(texts: list[bytes], most: int) -> None:
    async def take(response: Response) -> bytes:
        got = b""
        while data := await response.receive():
            ear = Ear(most)
            await response.listen(ear)
            got += data + ear.heard
        return got

    async with talking() as (far, response):
        taking = asyncio.create_task(take(response))
        for text in texts:
            far.say(text)
            await asyncio.sleep(0)
        far.end()
        assert await asyncio.wait_for(taking, 5) == b"".join(texts)
