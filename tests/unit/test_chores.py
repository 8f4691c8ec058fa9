"""Background tasks go on until they are ended, whatever breaks them or takes their cancellation."""

import asyncio
import logging

import pytest

from perdure import chores


async def test_a_chore_that_a_bug_breaks_is_heard_of_and_begins_anew(monkeypatch, caplog):
    """Guard: `begin`; the exception of a task that nobody awaits is seen by nobody."""
    monkeypatch.setattr(chores, "AGAIN_S", 0.001)
    begun, goes_on = 0, asyncio.Event()

    async def fragile() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise ZeroDivisionError
        goes_on.set()
        await asyncio.Event().wait()

    chore = chores.begin(fragile, "fragile")
    await asyncio.wait_for(goes_on.wait(), 10)
    assert begun == 3
    told = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert [one.getMessage() for one in told] == ["fragile: broke, beginning anew"] * 2
    await chores.end([chore])
    assert chore.cancelled()


async def test_a_chore_that_has_no_more_to_do_ends():
    async def brief() -> None:
        await asyncio.sleep(0)

    await asyncio.wait_for(chores.begin(brief, "brief"), 10)


@pytest.mark.parametrize("cancelled_in", ["work", "rest"])
async def test_a_chore_is_ended_at_work_and_at_rest(cancelled_in, monkeypatch):
    monkeypatch.setattr(chores, "AGAIN_S", 3600)
    reached = asyncio.Event()

    async def work() -> None:
        reached.set()
        if cancelled_in == "rest":
            raise ZeroDivisionError
        await asyncio.Event().wait()

    chore = chores.begin(work, "some work")
    await reached.wait()
    async with asyncio.timeout(10):
        await chores.end([chore])
    assert chore.cancelled()


async def test_a_task_that_takes_a_cancellation_for_a_timeout_is_ended_all_the_same():
    """Guard: the second cancellation; the Redis library swallows the first one in mid-connect."""
    cancelled = 0

    async def stubborn() -> None:
        nonlocal cancelled
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled += 1
                if cancelled > 1:
                    raise

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await chores.end([task])
    assert (task.cancelled(), cancelled) == (True, 2)


async def test_of_several_works_none_is_left_behind_when_one_raises():
    """Guard: `asyncio.gather` would return at once, and the others go on unseen."""
    done = []

    async def quick() -> None:
        raise ZeroDivisionError

    async def slow() -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        done.append("slow")

    with pytest.raises(ZeroDivisionError):
        await chores.all_of([quick(), slow()])
    assert done == ["slow"]


async def test_what_a_task_raises_at_its_end_is_its_own():
    async def broken() -> None:
        detail = "no more"
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError(detail)

    task = asyncio.create_task(broken())
    await asyncio.sleep(0)
    await chores.end([task])
    assert isinstance(task.exception(), RuntimeError)
