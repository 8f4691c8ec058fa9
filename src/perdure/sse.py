"""An incremental parser for server-sent events as other people's servers write them.

Bytes in, events out; the payload stays bytes, for whoever decodes its JSON. Not a writer of events.
Source: WHATWG HTML, "Server-sent events", parsing and interpreting an event stream.
"""

from __future__ import annotations

import msgspec

from perdure.errors import PerdureError

EVENT_BYTES_MAX = 16 << 20
"""As large as an answer that comes in one piece: a last event may repeat the whole of it."""
BOM = b"\xef\xbb\xbf"
LINE_ENDS = 2


class EventTooLarge(PerdureError):
    """A line or an event is longer than the parser was told to bear."""

    code = "event_too_large"


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event: its data lines joined by newlines, its type ("" = message), the last id seen."""

    data: bytes
    event: str = ""
    id: str = ""


class Parser:
    """Turns the pieces of one stream, cut anywhere, into events.

    Args:
        event_bytes_max: most bytes of one line, and of one event's data.

    """

    __slots__ = (
        "_after_cr",
        "_begun",
        "_bytes_max",
        "_clean",
        "_data",
        "_data_size",
        "_event",
        "_failure",
        "_id",
        "_tail",
        "_tail_size",
        "retry_ms",
    )

    def __init__(self, *, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self.retry_ms: int | None = None
        self._bytes_max = event_bytes_max
        self._tail: list[bytes] = []  # pieces of a line whose end is not here yet
        self._tail_size = 0
        self._data: list[bytes] = []  # data lines of the event being read
        self._data_size = 0
        self._event = ""
        self._id = ""
        self._clean = False  # between two events, so that whole blocks may be taken
        self._begun = False
        self._after_cr = False
        self._failure: EventTooLarge | None = None

    @property
    def between(self) -> bool:
        """Whether all that came was whole events."""
        return self._clean and not self._tail and not self._after_cr

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes.

        Raises `EventTooLarge`; events that came before the large one are returned first.
        """
        # Just one event of one data line: what most reads bring.
        if (
            self._clean
            and data[:6] == b"data: "
            and data[-2:] == b"\n\n"
            and data.count(b"\n") == LINE_ENDS
            and b"\r" not in data
            and not self._tail
            and len(data) <= self._bytes_max
        ):
            return [Event(data[6:-2], "", self._id)]
        if self._failure is not None:
            raise self._failure
        events: list[Event] = []
        try:
            self._take(data, events)
        except EventTooLarge as error:
            self._failure = error
            self._clean = False
            if not events:
                raise
        return events

    def _take(self, data: bytes, events: list[Event]) -> None:
        if self._after_cr or b"\r" in data:
            data = self._newlines(data)
        if b"\n" not in data:
            self._keep(data)
            return
        if self._tail:
            data = b"".join((*self._tail, data))
            self._tail.clear()
            self._tail_size = 0
        if self._clean:
            blocks, end, rest = data.rpartition(b"\n\n")
            if end:
                self._blocks(blocks, events)
                data = rest
        *lines, tail = data.split(b"\n")
        for line in lines:
            self._line(line, events)
        if tail:
            self._keep(tail)

    def _newlines(self, data: bytes) -> bytes:
        """Make line feeds of all line ends; a last carriage return may be half of a pair."""
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]
            self._after_cr = False
        if data:
            self._after_cr = data[-1:] == b"\r"
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _blocks(self, blocks: bytes, events: list[Event]) -> None:
        """Read whole events; nearly all of them are a single data line."""
        for block in blocks.split(b"\n\n"):
            if block[:6] == b"data: " and b"\n" not in block:
                self._check(len(block))
                events.append(Event(block[6:], "", self._id))
                continue
            for line in block.split(b"\n"):
                self._line(line, events)
            self._line(b"", events)

    def _keep(self, tail: bytes) -> None:
        self._tail.append(tail)
        self._tail_size += len(tail)
        self._check(self._tail_size)

    def _check(self, size: int) -> None:
        if size > self._bytes_max:
            raise EventTooLarge(
                f"The stream has an event of more than {self._bytes_max} bytes.",
            )

    def _line(self, line: bytes, events: list[Event]) -> None:
        self._check(len(line))
        if not self._begun:
            self._begun = True
            line = line.removeprefix(BOM)
        if not line:
            self._dispatch(events)
            return
        self._clean = False
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        self._field(name, value)

    def _field(self, name: bytes, value: bytes) -> None:
        if name == b"data":
            self._data.append(value)
            self._data_size += len(value) + 1
            self._check(self._data_size)
        elif name == b"event":
            self._event = value.decode(errors="replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode(errors="replace")
        elif name == b"retry" and value.isdigit():
            self.retry_ms = int(value[:9])

    def _dispatch(self, events: list[Event]) -> None:
        if self._data:
            events.append(Event(b"\n".join(self._data), self._event, self._id))
            self._data.clear()
            self._data_size = 0
        self._event = ""
        self._clean = True
