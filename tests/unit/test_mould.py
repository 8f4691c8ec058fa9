"""A stream whose chunks differ in their text only is read by its mould, to the same deltas.

Guards: without `Mould.of`'s probe a text that also stands elsewhere in the chunk is cut at the
wrong place; without `Parser.between` half an event is taken for none, without `_left` what waits
for room is told too late.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.deltas import Delta, Text
from perdure.errors import UpstreamError
from perdure.handlers import completions
from perdure.handlers.completions import Answer
from perdure.handlers.mould import Mould

Json = dict[str, Any]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ['"', "\\", "\n\n", "probe", "fake", 'a","b', "\u2028", "é", "😀", 'data: {"']
)
MORE: list[Json] = [*[{}] * 6, {"usage": {"prompt_tokens": 3}}, {"obfuscation": "x7"}]
CHUNKS = st.builds(
    lambda text, more, ascii_only: sse(said(text, **more), ascii_only=ascii_only),
    TEXTS,
    st.sampled_from(MORE),
    st.booleans(),
) | st.sampled_from([b": keep-alive\n\n", b'data: {"choices": []}\n\n'])


def said(text: str, **more: Any) -> Json:
    """Return a chunk as most servers send it."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return {"id": "chatcmpl-1", "model": "fake", "choices": [choice], **more}


def sse(chunk: Json, *, ascii_only: bool = True) -> bytes:
    """Return a chunk as an SSE event."""
    return b"data: %b\n\n" % json.dumps(chunk, ensure_ascii=ascii_only).encode()


def told(reads: Sequence[bytes]) -> tuple[str, list[Delta], int]:
    """Return the text and the other deltas of these reads, and how many chunks were decoded."""
    answer, deltas, decoded = Answer(), list[Delta](), 0

    def counted(data: bytes) -> Any:
        nonlocal decoded
        decoded += 1
        return plain(answer, data)

    def put(delta: Delta) -> bool:
        deltas.append(delta)
        return True

    plain = Answer._chunk
    with patch.object(Answer, "_chunk", lambda _, data: counted(data)):
        for data in reads:
            answer.read(put, data)
    text = "".join(delta.text for delta in deltas if isinstance(delta, Text))
    return text, [delta for delta in deltas if not isinstance(delta, Text)], decoded


@given(st.lists(CHUNKS, max_size=12), st.data())
def test_a_stream_read_by_its_mould_says_the_same(chunks: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(chunks)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=6)))
    ends = data.draw(st.sampled_from([cuts, [sum(map(len, chunks[:n])) for n in range(13)]]))
    reads = [whole[a:b] for a, b in zip([0, *ends], [*ends, len(whole)], strict=True)]
    with patch.object(completions, "MOULDS_MAX", 0):
        expected = told(reads)
    assert told(reads)[:2] == expected[:2]


def test_only_the_first_of_like_chunks_is_decoded() -> None:
    texts = ["Once", " upon", ' a "time"', " é😀\n", " they", " lived"]
    chunks = [sse(said(text), ascii_only=False) for text in texts]
    text, _, decoded = told([chunks[0], *chunks[1:3], b"".join(chunks[3:])])
    assert (text, decoded) == ("".join(texts), 1)


def test_a_stream_whose_chunks_differ_is_left_alone_after_a_few() -> None:
    chunks = [sse(said("so", created=number)) for number in range(20)]
    with patch.object(Mould, "of", side_effect=Mould.of) as taken:
        assert told(chunks)[0] == "so" * 20
    assert taken.call_count == completions.MOULDS_MAX


def test_a_new_mould_is_taken_when_the_old_one_has_served() -> None:
    chunks = [sse(said("so", created=number // 5)) for number in range(60)]
    assert told(chunks)[2] == 12


@pytest.mark.parametrize(
    "chunk",
    [
        said("fake"),  # the model is called so, too, and before it
        said("probe", model="probe"),
        said("so", usage={"prompt_tokens": 3}),
        said(""),
        {**said("so"), "choices": [*said("so")["choices"], *said("so")["choices"]]},
        {"choices": [{"index": 1, "delta": {"content": "so"}}]},
        {"choices": [{"index": 0, "delta": {"content": "so", "refusal": "no"}}]},
        {"choices": [{"index": 0, "delta": {"content": "so"}, "finish_reason": "stop"}]},
    ],
)
def test_no_mould_is_taken_where_more_than_the_text_is_said(chunk: Json) -> None:
    data = sse(chunk)
    text = chunk["choices"][0]["delta"]["content"]
    assert not text or Mould.of(data, text, completions._said) is None


def test_an_error_in_the_middle_of_like_chunks_is_raised() -> None:
    chunks = [sse(said("so")), sse(said("so")), sse({"error": {"message": "overloaded"}})]
    with pytest.raises(UpstreamError):
        told([chunks[0], chunks[1], chunks[1] + chunks[2] + chunks[1]])


def test_what_looks_like_an_event_behind_half_a_line_belongs_to_that_line() -> None:
    so = sse(said("so"))
    assert told([so, so, b": a comment, and behind it ", so, so])[0] == "so" * 3


def test_what_waits_for_room_is_told_first() -> None:
    answer, texts = Answer(), list[str]()

    def put(delta: Delta) -> bool:
        assert isinstance(delta, Text)
        texts.append(delta.text)
        return len(texts) != 2

    a, b, c, d = (sse(said(text)) for text in "abcd")
    assert answer.read(put, a)
    assert not answer.read(put, b": two at once\n\n" + b + c)
    assert answer.read(put, d)
    assert texts == ["a", "b", "c", "d"]


def test_many_chunks_in_one_read_stop_where_there_is_no_more_room() -> None:
    """Guard: `TOGETHER_MAX`; else a flood is told whole, however little of it is allowed."""
    answer, texts = Answer(), list[str]()

    def put(delta: Delta) -> bool:
        assert isinstance(delta, Text)
        texts.append(delta.text)
        return len(texts) < 5

    chunk = sse(said("so much " * 10))
    answer.read(put, chunk)
    assert not answer.read(put, chunk * 100)
    assert len("".join(texts)) == 5 * 80
