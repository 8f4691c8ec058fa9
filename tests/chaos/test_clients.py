"""Controls of the test clients: they forgive nothing and invent nothing.

A hand-written server of a few lines plays each case; were a client to mend or to lose something,
the chaos tests would judge the client instead of the server.
"""

import asyncio
import contextlib
import json

import pytest

from tests.world.readers import Frames, Poller, SseReader
from tests.world.records import Record

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def event(number, kind="output_text.delta"):
    return json.dumps({"type": f"response.{kind}", "sequence_number": number}).encode()


def frame(number, kind="output_text.delta"):
    data = event(number, kind)
    return b"id: %d\nevent: response.%b\ndata: %b\n\n" % (number, kind.encode(), data)


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


class Plays:
    """A server that answers each connection with the next of some scripted byte strings."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.decode())
        writer.write(self.answers.pop(0))
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def playing(*answers):
    play = Plays(*answers)
    server = await asyncio.start_server(play, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", play


def stream(*frames, end=b""):
    return HEAD.encode() + b"".join(chunk(one) for one in frames) + end


async def test_a_body_without_its_last_chunk_is_cut_and_the_reader_comes_back_with_its_cursor():
    first = stream(frame(0), frame(1))
    second = stream(frame(2), frame(3, "completed"), end=END)
    async with playing(first, second) as (url, play):
        record = Record("resp_1", "sse")
        await SseReader(url, record).follow(within_s=5)
    assert [window.ended for window in record.windows] == ["cut", "whole"]
    assert [shown.number for shown in record.shown] == [0, 1, 2, 3]
    assert "Last-Event-ID" not in play.asked[0]
    assert "Last-Event-ID: 1\r\n" in play.asked[1]
    assert record.shown[2].data == event(2)


async def test_a_frame_that_was_cut_in_half_is_not_shown_and_asked_for_again():
    first = stream(frame(0), frame(1)[:-9])
    second = stream(frame(1), frame(2, "completed"), end=END)
    async with playing(first, second) as (url, play):
        record = Record("resp_1", "sse")
        await SseReader(url, record).follow(within_s=5)
    assert "Last-Event-ID: 0\r\n" in play.asked[1]
    assert [shown.number for shown in record.shown] == [0, 1, 2]


async def test_what_a_server_repeats_or_leaves_out_stays_in_the_record():
    body = stream(frame(0), frame(2), frame(2), frame(1), frame(3, "completed"), end=END)
    async with playing(body) as (url, _):
        record = Record("resp_1", "sse")
        await SseReader(url, record).follow(within_s=5)
    assert [shown.number for shown in record.shown] == [0, 2, 2, 1, 3]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_frames_are_the_same_however_the_bytes_are_cut(size):
    data = b": hello\n\n" + frame(0) + b"retry: 250\n\n" + frame(1)
    frames = Frames()
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    assert [one for piece in pieces for one in frames.feed(piece)] == [
        (0, event(0)),
        (1, event(1)),
    ]
    assert frames.retry_ms == 250


async def test_a_reader_that_is_never_told_the_end_fails_in_time():
    async with playing(*[stream(frame(0), end=END)], *[stream(end=END)] * 100) as (url, _):
        reader = SseReader(url, Record("resp_1", "sse"))
        with pytest.raises(AssertionError, match="was not told the end"):
            await reader.follow(within_s=0.3)


async def test_a_poller_keeps_every_answer_and_comes_back_after_a_cut():
    def status(state, text, number):
        body = json.dumps({"status": state, "partial_content": text, "sequence_number": number})
        return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()

    answers = (status("streaming", "a", 3), status("streaming", "ab", 4)[:-5])
    async with playing(*answers, status("cancelled", "ab", 5)) as (url, _):
        record = Record("resp_1", "poll")
        await Poller(url, record, every_s=0.01).follow(within_s=5)
    told = [(partial.status, partial.text, partial.number) for partial in record.partials]
    assert told == [("streaming", "a", 3), ("cancelled", "ab", 5)]
    assert record.windows[0].ended == "refused EOFError"
