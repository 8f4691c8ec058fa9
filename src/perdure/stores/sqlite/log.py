"""Where events lie in the file: one journal row per flush, then one segment per answer.

While a request runs, its newest events lie in journal rows, which it shares with all others of the
same flush: one insert per commit, however many answers run. At 64 KiB, when they get old, and at
the end they are written once more, as one row of their own (a segment), and the journal rows that
nobody needs any more are removed. A reader gets either kind as a copy of bytes.

The journal's part is also kept in memory (`Live`), together with the claim that may append: this
process is the file's only writer, so memory and file change in the same synchronous step, and a
rollback rebuilds the memory from the file.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import apsw
import msgspec

from perdure.ports import Append, Slice
from perdure.stores.rows import UNFINISHED

SEGMENT_BYTES = 64 * 1024
SEGMENT_AGE_S = 15.0
"""Older events leave the journal, so that a slow answer does not hold back its removal."""
SEGMENTS_PER_FLUSH = 2
"""Bound of the extra work that one commit takes on when many answers grow alike."""

_Entry = tuple[str, int, bytes]
_decode = msgspec.msgpack.Decoder(list[_Entry]).decode
_encode = msgspec.msgpack.Encoder().encode


class Live:
    """A running request: its claim, its next number, and its events that lie in no segment yet."""

    __slots__ = ("claim_id", "hot", "hot_bytes", "hot_first", "journal_row", "next", "since")

    def __init__(self, claim_id: str, first: int) -> None:
        self.claim_id = claim_id
        self.next = first
        self.hot: list[bytes] = []
        self.hot_first = first
        self.hot_bytes = 0
        self.journal_row = 0
        self.since = 0.0

    def add(self, events: Sequence[bytes], size: int, journal_row: int) -> None:
        """Take events of `size` bytes together that were just written to `journal_row`."""
        if not self.hot:
            self.journal_row = journal_row
            self.since = time.monotonic()
        self.hot += events
        self.hot_bytes += size
        self.next += len(events)

    def following(self, number: int, bytes_max: int) -> list[bytes]:
        """Return the events from `number` on, which is not before `hot_first`."""
        events = self.hot[number - self.hot_first :]
        return events if self.hot_bytes <= bytes_max else _within(events, bytes_max)

    def clear(self) -> None:
        """Forget events that were just written to a segment."""
        self.hot = []
        self.hot_bytes = 0
        self.hot_first = self.next


class Log:
    """All event logs of one file; used in its write transactions, and by readers between them."""

    def __init__(self, writer: apsw.Connection, reader: apsw.Connection) -> None:
        self.live: dict[str, Live] = {}
        self._writer = writer
        self._reader = reader
        self._next_row = 1
        self._kept_row = 1
        self._full: list[str] = []

    # --- writing, inside a transaction ---

    def append(self, appends: Sequence[Append]) -> list[bool]:
        """Write what is under a claim in force, at the right number; tell which were."""
        verdicts: list[bool] = []
        entries: list[_Entry] = []
        grown: list[tuple[Live, Append, int]] = []
        for append in appends:
            live = self._owner(append)
            verdicts.append(live is not None)
            if live is None:
                continue
            lines = b"\n".join(append.events)
            grown.append((live, append, len(lines)))
            if lines:
                entries.append((append.request_id, append.first, lines))
        if grown:
            row = self._write_journal(entries)
            for live, append, size in grown:
                live.add(append.events, size, row)
                if live.hot_bytes >= SEGMENT_BYTES:
                    self._full.append(append.request_id)
            if self._full:
                self._write_segments()
        return verdicts

    def owns(self, request_id: str, claim_id: str) -> bool:
        """Tell whether the claim is in force: the fence of every write of a runner."""
        live = self.live.get(request_id)
        return live is not None and live.claim_id == claim_id

    def begin(self, request_id: str, claim_id: str, first: int, events: Sequence[bytes]) -> None:
        """Open a claimed request's hot log with its first events."""
        live = Live(claim_id, first)
        lines = b"\n".join(events)
        live.add(events, len(lines), self._write_journal([(request_id, first, lines)]))
        self.live[request_id] = live

    def seal(self, request_id: str, first: int, events: Sequence[bytes]) -> int:
        """Close a request's hot log with last events; return its next number.

        From here on all of its events lie in segments and no claim is in force.
        """
        live = self.live.get(request_id)
        hot = live.hot if live else []
        start = live.hot_first if live else first
        everything = [*hot, *events]
        if everything:
            self.write_segment(request_id, start, everything)
        self.live.pop(request_id, None)
        return start + len(everything)

    def write_segment(self, request_id: str, first: int, events: Sequence[bytes]) -> None:
        """Write events as a row of their own."""
        self._writer.execute(
            "INSERT INTO segment VALUES (?, ?, ?, ?)",
            (request_id, first, first + len(events) - 1, b"\n".join(events)),
        )

    @property
    def untidy(self) -> bool:
        """Whether the journal holds rows."""
        return self._next_row > self._kept_row

    def tidy(self) -> None:
        """Move old events to segments and remove journal rows that nobody needs."""
        old = time.monotonic() - SEGMENT_AGE_S
        aged = [key for key, live in self.live.items() if live.hot and live.since < old]
        for request_id in aged[: 8 * SEGMENTS_PER_FLUSH]:
            self._segment(request_id)
        needed = (live.journal_row for live in self.live.values() if live.hot)
        low = min(needed, default=self._next_row)
        self._writer.execute("DELETE FROM journal WHERE id < ?", (low,))
        self._kept_row = low

    def settle(self) -> None:
        """Move everything to segments, so that nothing lies in the journal only."""
        for request_id, live in self.live.items():
            if live.hot:
                self._segment(request_id)
        self._writer.execute("DELETE FROM journal")
        self._kept_row = self._next_row

    def _owner(self, append: Append) -> Live | None:
        """Return the running request that an append may go to: its claim and number are right."""
        live = self.live.get(append.request_id)
        if live is None or live.claim_id != append.claim_id or live.next != append.first:
            return None
        return live

    def _write_journal(self, entries: Sequence[_Entry]) -> int:
        row, self._next_row = self._next_row, self._next_row + 1
        self._writer.execute("INSERT INTO journal VALUES (?, ?)", (row, _encode(entries)))
        return row

    def _write_segments(self) -> None:
        """Write some of the segments that are due; the others wait for the next flush."""
        due, self._full = self._full[:SEGMENTS_PER_FLUSH], self._full[SEGMENTS_PER_FLUSH:]
        for request_id in due:
            live = self.live.get(request_id)
            if live is not None and live.hot_bytes >= SEGMENT_BYTES:
                self._segment(request_id)

    def _segment(self, request_id: str) -> None:
        live = self.live[request_id]
        self.write_segment(request_id, live.hot_first, live.hot)
        self._writer.execute(
            "UPDATE request SET next_sequence = ? WHERE id = ?",
            (live.next, request_id),
        )
        live.clear()

    # --- recovery ---

    def recover(self) -> None:
        """Rebuild what lies in the journal only, after a start or a rollback."""
        self.live = {
            request_id: Live(claim_id, first)
            for request_id, claim_id, first in self._writer.execute(
                "SELECT id, claim_id, next_sequence FROM request"
                f" WHERE {UNFINISHED} AND status = 'streaming'",
            )
        }
        self._full = []
        self._next_row = self._kept_row = 1
        for row, data in self._writer.execute("SELECT id, data FROM journal ORDER BY id"):
            self._next_row = row + 1
            for request_id, first, lines in _decode(data):
                self._restore(request_id, first, lines.split(b"\n"), row)

    def _restore(self, request_id: str, first: int, events: list[bytes], row: int) -> None:
        live = self.live.get(request_id)
        if live is None or first + len(events) <= live.next:
            return
        new = events[live.next - first :]
        live.add(new, sum(map(len, new)), row)

    # --- reading ---

    def whole(self, request_id: str) -> list[bytes]:
        """Return a request's whole log; inside or outside of a transaction."""
        rows = self._writer.execute(
            "SELECT data FROM segment WHERE request_id = ? ORDER BY first",
            (request_id,),
        )
        events = [event for (data,) in rows for event in data.split(b"\n")]
        live = self.live.get(request_id)
        return events + live.hot if live else events

    def _from_segments(self, request_id: str, after: int, bytes_max: int) -> list[bytes]:
        events: list[bytes] = []
        size = 0
        rows = self._reader.execute(
            "SELECT first, data FROM segment WHERE request_id = ? AND last > ? ORDER BY first",
            (request_id, after),
        )
        for first, data in rows:
            lines = data.split(b"\n")
            events.extend(lines[max(0, after + 1 - first) :])
            size += len(data)
            if size >= bytes_max:
                break
        rows.close()
        # The last segment tells the whole text four times: cut within it, too.
        return _within(events, bytes_max)

    def hot(self, request_id: str, after: int, bytes_max: int) -> Slice | None:
        """Return a slice of a running request's newest events; None: they do not lie here."""
        live = self.live.get(request_id)
        if live is None or after + 1 < live.hot_first:
            return None
        return Slice(after + 1, live.following(after + 1, bytes_max), live.next - 1, ended=False)

    def slice(self, request_id: str, after: int, bytes_max: int, ended_at: int | None) -> Slice:
        """Return a slice; `ended_at` is the number after the last event of an ended request."""
        live = self.live.get(request_id)
        if live is None:
            following = self._from_segments(request_id, after, bytes_max)
            last = (ended_at or after + 1 + len(following)) - 1
            return Slice(after + 1, following, last, ended_at is not None)
        if after + 1 < live.hot_first:
            following = self._from_segments(request_id, after, bytes_max)
        else:
            following = live.following(after + 1, bytes_max)
        return Slice(after + 1, following, live.next - 1, ended=False)


def _within(events: list[bytes], bytes_max: int) -> list[bytes]:
    """Cut a list of events at about `bytes_max`, never to nothing."""
    if len(events) == 1 or sum(map(len, events)) <= bytes_max:
        return events
    size = 0
    for count, event in enumerate(events, 1):
        size += len(event)
        if size >= bytes_max:
            return events[:count]
    return events
