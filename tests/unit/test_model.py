"""The table of states, ids and titles."""

import time
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.deltas import Text
from perdure.fold import fold
from perdure.model import TRANSITIONS, Status, new_id, title_of
from tests.unit.answers import answer, builder, created

PAIRS = list(product(Status, Status))
ALLOWED = {
    ("queued", "streaming"),
    ("queued", "failed"),
    ("queued", "cancelled"),
    ("streaming", "queued"),
    ("streaming", "completed"),
    ("streaming", "failed"),
    ("streaming", "cancelled"),
}


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_a_state_is_followed_by_exactly_what_the_design_allows(before, after):
    assert (after in TRANSITIONS[before]) == ((before, after) in ALLOWED)


@pytest.mark.parametrize("status", Status)
def test_terminal_means_that_nothing_follows(status):
    assert status.terminal == (status in ("completed", "failed", "cancelled"))


def log_in(status: Status) -> list[bytes]:
    """Return a log in a state."""
    if status is Status.QUEUED:
        return [created()]
    return answer(Text("a"), end=status if status.terminal else None)


def moved(log: list[bytes], status: Status) -> list[bytes]:
    """Return a log after a further transition."""
    writer = builder(log)
    if status is Status.QUEUED:
        writer.queued()
    elif status is Status.STREAMING:
        writer.in_progress(2)
    else:
        writer.end(status)
    return log + writer.take()


@pytest.mark.parametrize(("before", "after"), sorted(ALLOWED))
def test_a_log_tells_each_allowed_transition(before, after):
    log = log_in(Status(before))
    assert fold(log).status == before
    assert fold(moved(log, Status(after))).status == after


@pytest.mark.parametrize(("before", "after"), [pair for pair in PAIRS if pair[0].terminal])
def test_a_log_that_has_ended_takes_no_further_transition(before, after):
    with pytest.raises(ValueError, match="has ended"):
        moved(log_in(before), after)


def test_a_log_starts_queued():
    assert fold([created()]).status is Status.QUEUED


def test_ids_tell_their_noun_and_never_repeat():
    ids = {new_id("resp") for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(name.startswith("resp_") and len(name) == 37 for name in ids)


def test_ids_grow_with_time():
    """Guard: the time before the random digits; else an insert dirties a page of its own."""
    first = new_id("resp")
    time.sleep(0.002)  # why: what is compared is a clock of milliseconds
    assert first < new_id("resp")


@given(st.text(max_size=200))
def test_a_title_is_one_short_line_and_never_empty(text):
    title = title_of(text)
    assert title == " ".join(title.split())
    assert 0 < len(title) <= 61


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("  Explain quantum\tcomputing \nin detail", "Explain quantum computing"),
        ("", "New chat"),
        ("word " * 20, "word " * 11 + "word…"),
        ("one clause, another clause, and a third clause, then: nothing", None),
        ("x" * 100, "x" * 60 + "…"),
    ],
)
def test_a_title_is_cut_at_a_word(text, title):
    assert title_of(text) == (title or "one clause, another clause, and a third clause, then…")
