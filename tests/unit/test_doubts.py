"""Appends in doubt: looked for while they are tried again, and forgotten after that."""

from __future__ import annotations

from perdure.ports import Append
from perdure.stores import doubts
from perdure.stores.doubts import Doubts


def append(request_id: str, first: int = 3) -> Append:
    return Append(request_id, "claim_1", first, [b"event"])


def test_an_append_is_in_doubt_until_it_is_settled():
    kept = Doubts()
    kept.add([append("resp_1"), append("resp_2")])
    assert kept.about(append("resp_1"))
    assert not kept.about(append("resp_1", first=4))
    kept.settle([append("resp_1"), append("resp_3")])
    assert not kept.about(append("resp_1"))
    assert kept.about(append("resp_2"))


def test_what_was_given_up_is_forgotten(monkeypatch):
    """Guard: `KEPT_S`; else each outage would leave the last words of all its runs in memory."""
    kept = Doubts()
    kept.add([append("resp_1")])
    kept.add([append("resp_2")])
    assert len(kept) == 2
    monkeypatch.setattr(doubts, "KEPT_S", -1.0)
    kept.add([append("resp_3")])
    assert len(kept) == 1
    assert kept.about(append("resp_3"))
