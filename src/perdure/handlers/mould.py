"""What stands around the text of a stream's chunks, where it is the same in all of them.

Most servers change nothing but the text from one chunk to the next. Once its mould is known, such a
chunk need not be read as JSON whole: behind the head comes a text in JSON, then the tail.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

LINES = 2
TOGETHER_MAX = 8 * 1024
"""Bytes of several chunks that are told as one; of more, each is asked whether there is room."""

_decode_text = msgspec.json.Decoder(str).decode


class Mould(msgspec.Struct, frozen=True, gc=False):
    """The bytes of an SSE event before and behind a text in JSON, and between two such texts."""

    head: bytes
    tail: bytes
    seam: bytes

    @classmethod
    def of(cls, data: bytes, text: str, says: Callable[[bytes], str]) -> Mould | None:
        """Return the mould of one SSE event that says `text` and nothing else.

        None where it is not sure: `says` reads a payload, and must find there what is put in place
        of the text.
        """
        if data[:6] != b"data: " or data[-2:] != b"\n\n" or data.count(b"\n") != LINES:
            return None
        head, literal, tail = data.partition(msgspec.json.encode(text))
        probe = f"{text}?"
        if not literal or says(head[6:] + msgspec.json.encode(probe) + tail) != probe:
            return None
        return cls(head, tail, b'"%b%b"' % (tail, head))

    def text_of(self, data: bytes) -> str:
        """Return what whole events of this mould say; "" for whatever else came."""
        head, tail = self.head, self.tail
        if not (data.startswith(head) and data.endswith(tail)):
            return ""
        literal = data[len(head) : -len(tail)]
        if self.seam in literal:
            if len(literal) > TOGETHER_MAX:
                return ""
            literal = literal.replace(self.seam, b"")
        try:
            return _decode_text(literal)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ""
