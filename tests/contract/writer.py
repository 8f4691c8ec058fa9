"""`python -m tests.contract.writer FILE`: opens a SQLite store and writes until it is killed.

Prints each fact once the store has acknowledged it: `open`, then lines of `<request> <number>` for
the last durable event and `<request> end`.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from perdure.stores.sqlite import SqliteStore
from tests.contract.stores import begin

RUNS = 3


def tell(*fact: object) -> None:
    """Print a fact at once: the next instant may be the last."""
    sys.stdout.write(" ".join(map(str, fact)) + "\n")
    sys.stdout.flush()


async def write(path: Path) -> None:
    """Answer questions for ever: pieces of random size, now and then an end."""
    store = SqliteStore(path, "normal")
    await store.open()
    tell("open")
    pens = [await begin(store) for _ in range(RUNS)]
    while True:
        await store.append([pen.say("x" * random.choice((5, 500, 30_000))) for pen in pens])
        for pen in pens:
            tell(pen.id, pen.builder.first - 1)
        if random.random() < 0.1:
            pen = pens.pop(0)
            await store.finish(*pen.end())
            tell(pen.id, "end")
            pens.append(await begin(store))
        if random.random() < 0.1:
            await store.prune(events_s=0, requests_s=0, chats_s=0)


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1])))
