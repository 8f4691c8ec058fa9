"""Recorded streams, `tests/fixtures/streams/*.json`, for the folds of Python and of the web client.

Each file tells one answer's life. `python -m tests.unit.recorded` writes them anew from `LIVES`; a
test says when that is due.

    name      what happens
    attempts  per attempt: `deltas` (`{type, …}`), `continued`, `handed_over`
    events    the log, as objects
    texts     the answer's text after each event, so that a fold can be checked on its way
    text, output, status, attempt, error, usage, incomplete_reason   what the whole log folds to
"""

import re
from pathlib import Path
from typing import Any

import msgspec

from perdure.deltas import (
    Annotation,
    Delta,
    Finish,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Trace,
    Usage,
)
from perdure.fold import Fold, fold
from perdure.model import Failure, Status
from tests.unit.answers import CITATION, Attempt, Life, created, live

FOLDER = Path(__file__).parent.parent / "fixtures" / "streams"
RANDOM = re.compile(r"\b((?:msg|rs|fc|fco|call)(?:_\w+?)?)_([0-9a-f]{24}|[0-9a-f]{8})\b")
WORDS = [Text("The "), Text("answer "), Text("is "), Text("42.")]
EVERY = frozenset(range(20))


def attempt(*deltas: Delta, **changes: Any) -> Attempt:
    """Return an attempt whose events are taken after each delta."""
    return Attempt(list(deltas), taken_after=EVERY, **changes)


LIVES = {
    "plain": Life([attempt(*WORDS, Usage(8, 4), Finish())], Status.COMPLETED),
    "empty": Life([attempt(Finish())], Status.COMPLETED),
    "tools": Life(
        [
            attempt(
                Reasoning("I should "),
                Reasoning("look it up."),
                ToolCall("0", '{"city":', "weather", "call_a"),
                ToolCall("1", '{"city":"Rome"}', "weather", "call_b"),
                ToolCall("0", '"Oslo"}'),
                ToolResult("call_a", "-3 °C"),
                ToolResult("call_b", "14 °C"),
                Text("Oslo is cold", "m1"),
                Annotation(CITATION),
                Text(", Rome is not.", "m1"),
                Usage(50, 20, 70, 8, 5),
                Finish(),
            ),
        ],
        Status.COMPLETED,
    ),
    "supervisor": Life(
        [attempt(Text("I ask. ", "a"), Text("I know. ", "b"), Text("So be it.", "a"), Finish())],
        Status.COMPLETED,
    ),
    "restarted": Life(
        [
            attempt(*WORDS[:2], handed_over=False),
            attempt(Reasoning("Again."), *WORDS, Finish()),
        ],
        Status.COMPLETED,
    ),
    "continued": Life(
        [attempt(*WORDS[:2]), attempt(*WORDS[2:], Finish(), continued=True)],
        Status.COMPLETED,
    ),
    "worker_lost": Life(
        [attempt(*WORDS[:3], ToolCall("0", '{"half":', "f", "call_c")), attempt()],
        Status.FAILED,
        Failure("worker_lost", "The worker was lost twice."),
    ),
    "repeated_call": Life(
        [
            attempt(ToolCall("0", "{}", "f", "call_0"), ToolResult("call_0", "one"), Text("Wro")),
            attempt(ToolCall("0", "{}", "f", "call_0"), ToolResult("call_0", "two"), Text("Right")),
        ],
        Status.COMPLETED,
    ),
    "cancelled": Life([attempt(Trace("tr-1"), *WORDS[:3])], Status.CANCELLED),
    "cut_short": Life([attempt(*WORDS[:3], Finish("length"))], Status.COMPLETED),
    "refused": Life(
        [attempt(Refusal("I cannot "), Refusal("do that."), Finish())], Status.COMPLETED
    ),
    "odd_characters": Life(
        [attempt(Text("a\0b"), Text("漢😀\n\r\u2028"), Text('"\\</script>'), Finish())],
        Status.COMPLETED,
    ),
    "running": Life([attempt(Reasoning("hm"), *WORDS[:2])]),
}


def steady(log: list[bytes]) -> list[bytes]:
    """Return a log with its random ids replaced by their order."""
    names: dict[str, str] = {}

    def name(found: re.Match[str]) -> str:
        kind, random = found.groups()
        return names.setdefault(found[0], f"{kind}_{len(names) + 1:0{len(random)}}")

    return RANDOM.sub(name, b"\n".join(log).decode()).encode().split(b"\n")


def texts(log: list[bytes]) -> list[str]:
    """Return the folded text after each event."""
    state, found = Fold(), []
    for event in log:
        state.apply(event)
        found.append(state.text())
    return found


def record(name: str) -> dict[str, Any]:
    """Return what the file of a life holds."""
    life = LIVES[name]
    log = steady(live(life, [created(metadata={"from": "a test"})])[0])
    state = fold(log)
    attempts = [
        {
            "deltas": [
                {"type": type(said).__name__, **msgspec.structs.asdict(said)}
                for said in each.deltas
            ],
            "continued": each.continued,
            "handed_over": each.handed_over and each is not life.attempts[-1],
        }
        for each in life.attempts
    ]
    return {
        "name": name,
        "attempts": attempts,
        "events": [msgspec.json.decode(event) for event in log],
        "texts": texts(log),
        "text": state.text(),
        "output": state.answer(),
        "status": state.status.value,
        "attempt": state.attempt,
        "error": msgspec.to_builtins(state.error),
        "usage": state.usage,
        "incomplete_reason": state.incomplete_reason,
    }


def write() -> None:
    """Write every file anew."""
    for name in LIVES:
        encoded = msgspec.json.format(msgspec.json.encode(record(name)), indent=1)
        (FOLDER / f"{name}.json").write_bytes(encoded + b"\n")


if __name__ == "__main__":
    write()
