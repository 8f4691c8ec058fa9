"""The roll of workers: no more is admitted than those that are there have slots for."""

import msgspec
import pytest

from perdure.errors import TooMany
from perdure.ports import Roll
from tests.contract.stores import LIMITS, RUN, ask

SOME = msgspec.structs.replace(RUN, by_slots=True)

pytestmark = pytest.mark.parametrize("harness", ["postgres", "redis"], indirect=True)
"""A file of SQLite belongs to one process, which knows its own slots."""


async def test_no_more_is_admitted_than_the_workers_on_the_roll_have_slots_for(store):
    """Guard: what lies in the broker is out of reach of fairness."""
    assert issubclass(type(store), Roll)
    for _ in range(5):
        await ask(store, start=False)
    assert await store.admit(SOME) == [], "nobody is there"
    await store.present("one", 1, 30)
    await store.present("two", 2, 30)
    assert len(await store.admit(SOME)) == 3
    await store.present("two", 3, 30)
    assert len(await store.admit(SOME)) == 1, "a worker counts once, with what it said last"
    await store.present("two", 0, 30)
    assert await store.admit(SOME) == [], "whoever leaves takes its slots along"
    assert len(await store.admit(RUN)) == 1


async def test_a_worker_without_a_sign_of_life_counts_no_more(store):
    """By the store's clock."""
    await store.present("dead", 5, -1)
    await ask(store, start=False)
    assert await store.admit(SOME) == []


async def test_the_workers_that_take_something_are_counted(store):
    """One that leaves has no slots, one without a sign of life is none."""
    assert await store.workers() == 0
    await store.present("one", 1, 30)
    await store.present("two", 7, 30)
    await store.present("dead", 5, -1)
    assert await store.workers() == 2
    await store.present("two", 0, 30)
    assert await store.workers() == 1


async def test_a_full_queue_lets_nobody_in_whom_no_worker_could_take(store):
    """Guard: the slots in the look at a full queue; the other limits leave room enough."""
    full = msgspec.structs.replace(LIMITS, queued_max=0, run=SOME)
    with pytest.raises(TooMany):
        await ask(store, limits=full)
    await store.present("one", 1, 30)
    await ask(store, limits=full, start=True)
    with pytest.raises(TooMany):
        await ask(store, limits=full)
