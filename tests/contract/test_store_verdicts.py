"""Promises of the store for verdicts that are to be told to a tracker."""

import msgspec

from perdure.model import Feedback, new_id
from tests.contract.stores import ask, begin, complete
from tests.world.waiting import eventually

HIDE_S = 60


def verdict(request_id: str, *, due: bool = True) -> Feedback:
    return Feedback(
        id=new_id("fb"),
        user_id="ann",
        request_id=request_id,
        trace_id=None,
        name="thumbs",
        value=True,
        rationale=None,
        created_at=1.0,
        author="ann@example.org",
        due_at=1.0 if due else None,
    )


async def test_a_verdict_is_taken_when_the_trace_of_its_request_is_known(store):
    """Guard: what was judged before the trace came would never be told."""
    pen = await begin(store)
    await store.add_feedback(verdict(pen.id))
    assert await store.take_feedback(HIDE_S) == []
    assert await store.append([pen.say("tick", trace_id="tr-1")]) == [True]
    taken = await until_taken(store)
    assert (taken.trace_id, taken.author, taken.tries) == ("tr-1", "ann@example.org", 1)
    assert await store.take_feedback(HIDE_S) == []


async def test_an_answer_that_ends_without_a_trace_frees_its_verdict(store):
    pen = await begin(store)
    await store.add_feedback(verdict(pen.id))
    await complete(store, pen)
    assert (await until_taken(store)).trace_id is None


async def test_a_verdict_is_due_again_when_it_is_settled_so(store):
    request = await ask(store)
    await store.add_feedback(msgspec.structs.replace(verdict(request.id), trace_id="tr-1"))
    (taken,) = await store.take_feedback(HIDE_S)
    await store.settle_feedback(taken, 0.0)
    (again,) = await store.take_feedback(HIDE_S)
    assert (again.id, again.tries) == (taken.id, 2)
    await store.settle_feedback(again)
    assert await store.take_feedback(HIDE_S) == []
    (kept,) = await store.feedback(request.id, "ann")
    assert (kept.id, kept.due_at) == (taken.id, None)


async def test_settling_leaves_what_has_replaced_a_verdict(store):
    request = await ask(store)
    given = msgspec.structs.replace(verdict(request.id), trace_id="tr-1")
    await store.add_feedback(given)
    (taken,) = await store.take_feedback(HIDE_S)
    newer = msgspec.structs.replace(given, id=new_id("fb"), value=False)
    await store.add_feedback(newer)
    await store.settle_feedback(taken)
    (found,) = await store.take_feedback(HIDE_S)
    assert (found.id, found.value, found.tries) == (newer.id, False, 1)


async def test_a_hidden_verdict_comes_back_when_nobody_settles_it(store):
    request = await ask(store)
    await store.add_feedback(msgspec.structs.replace(verdict(request.id), trace_id="tr-1"))
    assert await store.take_feedback(0.0)
    assert (await until_taken(store)).tries == 2


async def test_what_is_not_to_be_told_and_what_is_gone_is_never_taken(store):
    kept, gone = await ask(store), await ask(store)
    await store.add_feedback(msgspec.structs.replace(verdict(kept.id, due=False), trace_id="tr-1"))
    await store.add_feedback(msgspec.structs.replace(verdict(gone.id), trace_id="tr-2"))
    await store.delete_request(gone.id, "ann")
    assert await store.take_feedback(HIDE_S) == []


async def until_taken(store) -> Feedback:
    """Return the verdict that is due, perhaps only in a moment."""

    async def taken() -> list[Feedback]:
        return list(await store.take_feedback(HIDE_S))

    (found,) = await eventually(taken, within_s=10, what="a verdict is due")
    return found
