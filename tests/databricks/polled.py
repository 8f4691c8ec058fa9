"""Agents that are asked once and looked at: what their tests have in common."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import pytest

from perdure.deltas import Delta, Marked, Plain
from perdure.errors import UpstreamError
from perdure.ports import Call, Handler
from tests.databricks.workspace import Workspace

IDS = {"request_id": "resp_1", "chat_id": "chat_1", "user_id": "u", "agent_id": "a"}


async def ask(handler: Handler, into: list[Delta] | None = None, **more: Any) -> list[Delta]:
    """Return the deltas, and close the handler; `into` holds them also when the answer fails."""
    said: list[Delta] = [] if into is None else into
    try:
        async with aclosing(handler.stream(Call(**{**IDS, **more}))) as deltas:
            async for delta in deltas:
                said.append(delta)  # noqa: PERF401  # kept when it raises, too
    finally:
        await handler.close()
    return said


def plain(deltas: Sequence[Delta]) -> list[Plain]:
    """Return what was told."""
    return [one for delta in deltas if isinstance(delta, Marked) for one in delta.deltas]


async def crashed(workspace: Workspace, first: Handler, then: Handler, **more: Any) -> list[Plain]:
    """Ask until the workspace fails, go on behind the last mark as after a crash; return it all.

    Whatever happens, the workspace is asked once.
    """
    seen: list[Delta] = []
    with pytest.raises(UpstreamError) as failed:
        await ask(first, into=seen, **more)
    assert failed.value.retryable
    marks = [delta.position for delta in seen if isinstance(delta, Marked)]
    rest = await ask(then, upstream=marks[-1], **more)
    assert len(workspace.asked) == 1
    return plain([*seen, *rest])
