"""A request's whole life at random, against a model: any order of all steps, crashes included."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from perdure.model import Status
from perdure.ports import NewRequest
from tests.contract.stores import (
    ADAPTERS,
    LAPSED_S,
    LEASE_S,
    RUN,
    VERDICTS,
    Harness,
    Pen,
    question,
    sound,
    whole,
)

T = TypeVar("T")
REQUESTS_MAX = 5
"""Few, so that many steps meet at each."""
QUICK_LIVES = {"sqlite": 60, "postgres": 20, "redis": 20}
"""Each step on a server costs milliseconds; the long runs live as many lives everywhere."""
PICK = st.integers(0, 11)
PIECES = st.sampled_from(["a", "\n", "漢", "x" * 3000, "y" * 70_000])


class Known(msgspec.Struct):
    """What the model knows of a request.

    Args:
        status: where it must be.
        admitted: whether it may be claimed.
        owner: the pen of the claim in force.
        lapsed: whether its lease is over.
        crashes: how often a worker was lost.
        log: what any reader was ever shown, byte for byte.
        ended: the row as it was when it ended.

    """

    chat_id: str
    status: Status = Status.QUEUED
    admitted: bool = False
    owner: Pen | None = None
    lapsed: bool = False
    crashes: int = 0
    log: list[bytes] = []
    ended: Any = None

    def end(self, status: Status) -> None:
        self.status, self.owner, self.admitted = status, None, False

    def wait(self) -> None:
        self.status, self.owner, self.admitted = Status.QUEUED, None, False


class Life(RuleBasedStateMachine):
    """All steps of a store; every worker that ever was keeps its pen and goes on trying."""

    adapter: Callable[[Path], AbstractAsyncContextManager[Harness]]

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        made = self._stack.enter_async_context(type(self).adapter(folder))
        self.harness = self.do(made)
        self.known: dict[str, Known] = {}
        self.pens: list[Pen] = []

    def do(self, step: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(step)

    def teardown(self) -> None:
        self.do(self._stack.aclose())
        self._loop.close()

    # Steps

    def request(self, pick: int) -> str:
        return [*self.known][pick % len(self.known)]

    def pen(self, pick: int) -> Pen:
        return self.pens[pick % len(self.pens)]

    def owns(self, pen: Pen) -> bool:
        return self.known[pen.id].owner is pen

    @initialize()
    def begin(self) -> None:
        """Begin with an owner and a zombie, so that each life has something to find."""
        self._asked(question())
        self.start(0, lapsed=False)
        self.hand_over(0)
        self.start(0, lapsed=False)

    @precondition(lambda self: len(self.known) < REQUESTS_MAX)
    @rule(user=st.sampled_from(["ann", "bob"]))
    def ask(self, user: str) -> None:
        self._asked(question(user))

    @precondition(lambda self: len(self.known) < REQUESTS_MAX)
    @rule(pick=PICK, if_busy=st.sampled_from(["queue", "interrupt"]))
    def ask_in_chat(self, pick: int, if_busy: str) -> None:
        request_id = self.request(pick)
        chat_id = self.known[request_id].chat_id
        user = self.do(self.harness.store.request(request_id)).user_id
        if if_busy == "interrupt":
            for known in self.known.values():
                if known.chat_id == chat_id and not known.status.terminal:
                    known.end(Status.CANCELLED)
        self._asked(question(user, chat_id=chat_id, if_busy=if_busy))

    def _asked(self, new: NewRequest) -> None:
        accepted = self.do(self.harness.store.accept(new))
        self.known[new.id] = Known(new.chat_id)
        assert accepted.request.id == new.id

    @rule()
    def admit(self) -> None:
        admitted = self.do(self.harness.store.admit(RUN))
        free = {request_id for request_id, known in self.known.items() if self._next(known)}
        waits = {one for one in free if self.known[one].crashes > 1}
        assert free - waits <= set(admitted) <= free
        for request_id in admitted:
            self.known[request_id].admitted = True

    def _next(self, known: Known) -> bool:
        """Tell whether a request is the first unfinished one of its chat, and waits."""
        unfinished = [
            one
            for one in self.known.values()
            if one.chat_id == known.chat_id and not one.status.terminal
        ]
        return known in unfinished[:1] and known.status is Status.QUEUED and not known.admitted

    @rule(pick=PICK, lapsed=st.booleans())
    def claim(self, pick: int, *, lapsed: bool) -> None:
        request_id = self.request(pick)
        known = self.known[request_id]
        lease_s = LAPSED_S if lapsed else LEASE_S
        claim = self.do(self.harness.store.claim(request_id, "worker", lease_s))
        assert (claim is not None) == (known.status is Status.QUEUED and known.admitted)
        if claim is not None:
            known.status, known.admitted = Status.STREAMING, False
            known.owner, known.lapsed = Pen(claim), lapsed
            self.pens.append(known.owner)

    @rule(pick=PICK, lapsed=st.booleans())
    def start(self, pick: int, *, lapsed: bool) -> None:
        self.admit()
        self.claim(pick, lapsed=lapsed)

    @rule(pick=PICK, text=PIECES)
    def append(self, pick: int, text: str) -> None:
        pen = self.pen(pick)
        owned = self.owns(pen)
        assert self.do(self.harness.store.append([pen.say(text)])) == [owned]

    @rule(pick=PICK, shift=st.sampled_from([-1, 1]))
    def append_at_a_wrong_number(self, pick: int, shift: int) -> None:
        pen = self.pen(pick)
        append = Pen(pen.claim).say("wrong")
        wrong = msgspec.structs.replace(append, first=pen.builder.first + shift)
        assert self.do(self.harness.store.append([wrong])) == [False]

    @rule(pick=PICK)
    def append_as_a_zombie(self, pick: int) -> None:
        pen = self.pen(pick)
        if not self.owns(pen):
            right = len(self.known[pen.id].log)
            late = msgspec.structs.replace(Pen(pen.claim).say("late"), first=right)
            assert self.do(self.harness.store.append([late])) == [False]

    @rule(pick=PICK, status=st.sampled_from([Status.COMPLETED, Status.FAILED]))
    def finish(self, pick: int, status: Status) -> None:
        pen = self.pens.pop(pick % len(self.pens))
        owned = self.owns(pen)
        assert self.do(self.harness.store.finish(*pen.end(status))) == owned
        if owned:
            self.known[pen.id].end(status)
        self.pens = self.pens or [Pen(pen.claim)]

    @rule(pick=PICK)
    def hand_over(self, pick: int) -> None:
        pen = self.pen(pick)
        owned = self.owns(pen)
        assert self.do(self.harness.store.hand_over(pen.id, pen.claim.claim_id)) == owned
        if owned:
            self.known[pen.id].wait()

    @rule(pick=PICK)
    def renew(self, pick: int) -> None:
        pen = self.pen(pick)
        owned = self.owns(pen)
        kept = self.do(self.harness.store.renew({pen.id: pen.claim.claim_id}, LEASE_S))
        assert kept == ({pen.id} if owned else set())
        if owned:
            self.known[pen.id].lapsed = False

    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        request_id = self.request(pick)
        known = self.known[request_id]
        if not known.status.terminal:
            known.end(Status.CANCELLED)
        assert self.do(self.harness.store.cancel(request_id)).status is known.status

    @rule(dead=st.booleans(), verdict=st.sampled_from(sorted(VERDICTS)))
    def reap(self, *, dead: bool, verdict: str) -> None:
        changed = self.do(self.harness.store.reap(VERDICTS[verdict], dead=dead))
        lost = {
            request_id: known
            for request_id, known in self.known.items()
            if known.status is Status.STREAMING and (dead or known.lapsed)
        }
        assert {row.id for row in changed} == lost.keys()
        for known in self.known.values():
            # No delivery outlives its process: what was admitted waits for admission again.
            known.admitted = known.admitted and not dead
        for known in lost.values():
            known.crashes += 1
            if verdict == "fail":
                known.end(Status.FAILED)
            else:
                known.wait()

    @rule(how=st.sampled_from(["reopen", "crash"]))
    def start_again(self, how: str) -> None:
        self.do(self.harness.crash() if how == "crash" else self.harness.reopen())

    # What holds after each of them

    @invariant()
    def all_is_as_the_model_says(self) -> None:
        for request_id, known in self.known.items():
            self.do(self._check(request_id, known))

    async def _check(self, request_id: str, known: Known) -> None:
        store = self.harness.store
        row = await store.request(request_id)
        assert (row.status, row.crashes) == (known.status, known.crashes)
        if known.ended is not None:
            assert row == known.ended
            return
        await sound(store, request_id)
        log = await whole(store, request_id)
        assert log[: len(known.log)] == known.log
        known.log = log
        if known.status.terminal:
            known.ended = row


def live_many_lives(adapter: Any, *, examples: int, steps: int, shrink: bool = True) -> None:
    """Run random lives on stores that `adapter` makes; `shrink` looks for the shortest failure."""
    life = type("Life", (Life,), {"adapter": staticmethod(adapter)})
    phases = set(Phase) if shrink else {Phase.generate}
    rounds = settings(max_examples=examples, stateful_step_count=steps, phases=phases)
    run_state_machine_as_test(life, settings=rounds)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_no_order_of_steps_breaks_a_log_a_claim_or_an_end(adapter, soak):
    """The laws: contiguous numbers, one end and last, fixed bytes, one owner, final ends."""
    examples, steps = (600, 80) if soak else (QUICK_LIVES[adapter], 30)
    live_many_lives(ADAPTERS[adapter], examples=examples, steps=steps)
