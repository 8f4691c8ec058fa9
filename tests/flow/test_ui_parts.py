"""What `useChat` makes of a stream is what it is given when the page is loaded again.

Every recorded stream that has ended, read by the real `ai`, of both majors.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from perdure.model import JSON, Message
from perdure.routers.ui_messages import Said, ui_message
from perdure.routers.ui_stream import Translator
from perdure.routers.ui_turns import BROKE_OFF
from tests.flow.clients import NODE, run
from tests.unit.recorded import FOLDER

STREAMS: dict[str, JSON] = {
    path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))
}
ENDED = [name for name, stream in STREAMS.items() if stream["status"] != "streaming"]
OWN = {"": (), " by the page": ("weather", "f")}
NOT_SHOWN = {"id", "rawInput"}


def told(stream: JSON, own: tuple[str, ...], *, resets: bool) -> list[JSON]:
    """Return the parts of a stream that is told after its end."""
    attempt = max(1, len(stream["attempts"]))
    if any(one.get("continued") for one in stream["attempts"]):
        attempt = 1
    translator = Translator("msg_1", resets=resets, attempt=attempt, own=own)
    frames = [translator.frames(json.dumps(event).encode()) for event in stream["events"]]
    lines = b"".join(frames).decode().split("\n\n")[:-1]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def kept(stream: JSON, own: tuple[str, ...]) -> list[JSON]:
    """Return the parts that the page is given when it is loaded again."""
    message = Message(
        id="msg_1", chat_id="chat_1", parent_id=None, role="assistant", text="", created_at=0
    )
    return list(ui_message([message], {"msg_1": Said(stream["output"], own)})["parts"])


def shown(parts: list[JSON]) -> list[JSON]:
    """Return what a person sees of them; a call that broke off is told, and not kept."""
    whole = [part for part in parts if part.get("errorText") != BROKE_OFF]
    return [{key: part[key] for key in part if key not in NOT_SHOWN} for part in whole]


@pytest.mark.parametrize(("package", "resets"), [("ai", True), ("ai6", False)])
async def test_a_stream_and_a_reload_show_the_same(package: str, *, resets: bool) -> None:
    """Guards: every row of the wire format; what is told only in one of the two would vanish."""
    cases = [(name, what) for name in ENDED for what in OWN]
    given = {name + what: told(STREAMS[name], OWN[what], resets=resets) for name, what in cases}
    program = await run(NODE, "parts.mjs", package)
    try:
        program.say(json.dumps(given))
        made: dict[str, Any] = (await program.until("made"))["made"]
    finally:
        await program.end()
    for name, what in cases:
        assert made[name + what]["id"] == "msg_1"
        loaded = shown(kept(STREAMS[name], OWN[what]))
        assert shown(made[name + what]["parts"]) == (loaded or [{"type": "step-start"}]), name
        assert given[name + what][-1]["type"] in ("finish", "abort", "error"), name
