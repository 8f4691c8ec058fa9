"""Background tasks are ended, whatever they make of a cancellation."""

import asyncio

from perdure import chores


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
