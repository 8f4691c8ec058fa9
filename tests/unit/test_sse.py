"""The event-stream parser, against the standard's rules and against any way to cut a stream."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.sse import Event, EventTooLarge, Parser

STREAMS = {
    "a data line": (b"data: a\n\n", [Event(b"a")]),
    "no space behind the colon": (b"data:a\n\n", [Event(b"a")]),
    "only one space is dropped": (b"data:  a\n\n", [Event(b" a")]),
    "carriage returns": (b"data: a\r\rdata: b\r\r", [Event(b"a"), Event(b"b")]),
    "pairs": (b"data: a\r\n\r\ndata: b\r\n\r\n", [Event(b"a"), Event(b"b")]),
    "several data lines": (b"data: a\ndata\ndata: b\n\n", [Event(b"a\n\nb")]),
    "an empty data line is an event": (b"data:\n\n", [Event(b"")]),
    "a comment": (b": hello\n\ndata: a\n: in between\n\n", [Event(b"a")]),
    "a type": (b"event: ping\ndata: a\n\ndata: b\n\n", [Event(b"a", "ping"), Event(b"b")]),
    "a type without data is no event": (b"event: ping\n\ndata: b\n\n", [Event(b"b")]),
    "an id lasts": (b"id: 7\ndata: a\n\ndata: b\n\n", [Event(b"a", "", "7"), Event(b"b", "", "7")]),
    "an id with a zero byte is ignored": (b"id: 7\0\ndata: a\n\n", [Event(b"a")]),
    "an unknown field": (b"colour: red\ndata: a\n\n", [Event(b"a")]),
    "a byte order mark": (b"\xef\xbb\xbfdata: a\n\n", [Event(b"a")]),
    "one byte order mark only": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
    "no end": (b"data: a\n\ndata: b\n", [Event(b"a")]),
    "blank lines": (b"\n\n\n\ndata: a\n\n\n\n\ndata: b\n\n\n", [Event(b"a"), Event(b"b")]),
    "colons inside": (b"data: a: b\n\n", [Event(b"a: b")]),
    "wide characters": ("data: é€😀\n\n".encode(), [Event("é€😀".encode())]),
}

LINES = st.sampled_from(
    [
        b"",
        b"",
        b"data: x",
        b'data: {"a": "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"}',
        b"data:y",
        b"data",
        b": note",
        b"event: e",
        b"id: 1",
        b"retry: 10",
        b"junk",
    ],
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


def parse(*pieces: bytes, event_bytes_max: int = 1000) -> list[Event]:
    parser = Parser(event_bytes_max=event_bytes_max)
    return [event for piece in pieces for event in parser.feed(piece)]


@pytest.mark.parametrize("name", STREAMS)
def test_each_rule_of_the_standard_holds(name: str) -> None:
    stream, events = STREAMS[name]
    assert parse(stream) == events


@pytest.mark.parametrize("name", STREAMS)
def test_each_rule_holds_when_bytes_come_one_by_one(name: str) -> None:
    stream, events = STREAMS[name]
    assert parse(*(bytes([byte]) for byte in stream)) == events


@given(st.lists(st.tuples(LINES, ENDS), max_size=30), st.lists(st.integers(0, 300), max_size=20))
def test_any_cut_gives_the_same_events(lines: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    stream = b"data: first\n\n" + b"".join(itertools.chain.from_iterable(lines))
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]
    assert parse(*pieces) == parse(stream) == by_the_book(stream)


def by_the_book(stream: bytes) -> list[Event]:
    """The standard's algorithm, without any haste."""
    events: list[Event] = []
    data: list[bytes] = []
    kind, last_id = "", ""
    lines = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]
    for line in lines:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            events += [Event(b"\n".join(data), kind, last_id)] if data else []
            data, kind = [], ""
        elif name == b"data":
            data.append(value)
        elif name == b"event":
            kind = value.decode()
        elif name == b"id":
            last_id = value.decode()
    return events


def test_a_comment_cut_before_what_looks_like_data_is_still_a_comment() -> None:
    assert parse(b"data: a\n\n", b": ", b"data: b\n\n") == [Event(b"a")]


def test_the_reconnection_time_is_kept() -> None:
    parser = Parser()
    parser.feed(b"retry: soon\nretry: 1500\n\n")
    assert parser.retry_ms == 1500


ENDLESS = {
    "a line": [b"data: ", *[b"x" * 50] * 30],
    "a comment": [b": ", *[b"x" * 50] * 30],
    "an event of many lines": [b"data: xxxxxxxxxxxxxxxxxxxxxx\n"] * 60,
    "a type": [b"event: " + b"x" * 1200 + b"\n\n"],
    "an event that came at once": [b"data: a\n\n", b"data: " + b"x" * 1200 + b"\n\n"],
    "an event among others": [b"data: a\n\ndata: " + b"x" * 1200 + b"\n\ndata: b\n\n", b":"],
}


@pytest.mark.parametrize("name", ENDLESS)
def test_an_event_without_end_is_refused(name: str) -> None:
    with pytest.raises(EventTooLarge, match="more than 1000 bytes"):
        parse(b"data: first\n\n", *ENDLESS[name])


def test_events_before_a_too_large_one_are_not_lost() -> None:
    parser = Parser(event_bytes_max=10)
    assert parser.feed(b"data: a\n\ndata: " + b"x" * 20) == [Event(b"a")]
    with pytest.raises(EventTooLarge):
        parser.feed(b"data: b\n\n")


def test_a_large_event_in_small_pieces_costs_linear_time() -> None:
    parser = Parser(event_bytes_max=2 << 20)
    parser.feed(b"data: first\n\ndata: ")
    for _ in range(200_000):
        assert not parser.feed(b"12345")
    assert len(parser.feed(b"\n\n")[0].data) == 1_000_000
