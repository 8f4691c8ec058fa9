"""What a terminal shows of an answer: each text once, restarts replaced, the end told."""

import io

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.cli.answer import Answer
from perdure.cli.blocks import split_closed
from perdure.cli.follow import BACKOFF_MAX_S, backoff_s
from perdure.cli.screens import LiveScreen, PlainScreen

JSON = dict[str, object]


def created(**response: object) -> JSON:
    return {"type": "response.created", "response": {"status": "queued", **response}}


def began(**metadata: str) -> JSON:
    response = {"status": "in_progress", "metadata": metadata, "output": []}
    return {"type": "response.in_progress", "response": response}


def delta(text: str, index: int = 0) -> JSON:
    return {"type": "response.output_text.delta", "output_index": index, "delta": text}


def message(text: str) -> JSON:
    return {"type": "message", "content": [{"type": "output_text", "text": text}]}


def ended(kind: str, status: str, *texts: str, **more: object) -> JSON:
    output = [message(text) for text in texts]
    return {"type": f"response.{kind}", "response": {"status": status, "output": output, **more}}


def shown(*events: JSON, cursor: int = -1) -> tuple[Answer, str]:
    """Return the answer after these events, numbered after the cursor, and what was printed."""
    out = io.StringIO()
    answer, screen = Answer("resp_1", cursor), PlainScreen(out)
    for number, event in enumerate(events, cursor + 1):
        numbered = {**event, "sequence_number": number}
        answer.apply(numbered)
        screen.event(msgspec.json.encode(numbered), answer)
    screen.close(answer)
    return answer, out.getvalue()


def test_text_is_printed_once_as_it_grows() -> None:
    answer, printed = shown(
        created(), began(), delta("Hel"), delta("lo"), ended("completed", "completed", "Hello")
    )
    assert (answer.status, printed) == ("completed", "Hello\n")


def test_a_repeated_event_changes_nothing() -> None:
    answer = Answer("resp_1")
    for _ in range(2):
        answer.apply({**delta("a"), "sequence_number": 0})
    assert answer.text == "a"


def test_a_second_attempt_replaces_the_text_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    answer, printed = shown(
        began(),
        delta("first"),
        began(attempt="2"),
        delta("second", 1),
        ended("completed", "completed", "second"),
    )
    assert answer.text == "second"
    assert printed == "firstsecond\n"
    assert "begun anew" in capsys.readouterr().err


def test_the_text_of_a_lost_attempt_stays_until_the_next_one_speaks() -> None:
    answer, _ = shown(began(), delta("first"), began(attempt="2"))
    assert answer.text == "first"


def test_an_attempt_that_continues_keeps_the_text_before_it() -> None:
    answer, printed = shown(
        began(),
        delta("one "),
        began(attempt="2", recovery="continue"),
        delta("two", 1),
        ended("completed", "completed", "one ", "two"),
    )
    assert answer.text == "one two"
    assert printed == "one two\n"


def test_a_text_without_deltas_is_shown_when_it_is_done() -> None:
    done = {"type": "response.output_item.done", "output_index": 0, "item": message("whole")}
    assert shown(began(), done)[1] == "whole\n"


def test_attached_in_the_middle_only_the_rest_is_shown() -> None:
    _, printed = shown(delta("lo"), ended("completed", "completed", "Hello"), cursor=2)
    assert printed == "lo\n"


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (ended("completed", "completed"), "completed"),
        (ended("incomplete", "incomplete"), "completed"),
        (ended("failed", "failed", error={"code": "x", "message": "y"}), "failed"),
        (ended("failed", "cancelled"), "cancelled"),
    ],
)
def test_the_end_is_one_of_three_states(event: JSON, status: str) -> None:
    answer, _ = shown(began(), event)
    assert (answer.status, answer.ended) == (status, True)


def test_a_pruned_answer_is_shown_from_the_request() -> None:
    answer = Answer("resp_1", 7)
    answer.settle({"status": "completed", "final_response": "All of it."}, pruned=True)
    assert answer.text == "All of it."


@given(st.text(alphabet="ab `\n#-", max_size=80))
def test_cutting_markdown_loses_nothing_and_never_cuts_inside_a_code_block(text: str) -> None:
    closed, rest = split_closed(text)
    assert closed + rest == text
    fences = sum(line.lstrip().startswith("```") for line in closed.splitlines())
    assert fences % 2 == 0


def test_a_finished_block_is_cut_off_and_an_open_one_is_kept() -> None:
    assert split_closed("one\n\ntwo") == ("one\n\n", "two")
    assert split_closed("```\n\nx\n\n") == ("", "```\n\nx\n\n")


def test_pauses_grow_and_have_a_cap() -> None:
    assert 0.1 < backoff_s(1) <= 0.25
    assert BACKOFF_MAX_S / 2 <= backoff_s(50) <= BACKOFF_MAX_S


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_an_agent_says_steers_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: `harmless`. OSC 52 fills a clipboard, CSI 2J hides what was there, 9b is CSI too."""
    evil = "\x1b]52;c;ZXZpbA==\x07 \x1b[2J \x9b2J \u202e \r"
    written = Terminal()
    monkeypatch.setattr("sys.stdout", written)
    monkeypatch.setenv("TERM", "xterm")
    answer = Answer("resp_1")
    screen = LiveScreen()
    item = {"type": "function_call", "name": f"tool {evil}"}
    added = {"type": "response.output_item.added", "output_index": 1, "item": item}
    for event in (began(), added, delta(f"said {evil}\n\nand {evil}")):
        answer.apply(event)
        screen.event(b"", answer)
    screen.note(f"Failed: {evil}")
    screen.close(answer)
    shown = written.getvalue()
    assert not [sign for sign in ("\x1b]52", "\x1b[2J", "\x9b", "\u202e") if sign in shown]
    assert shown.count("ZXZpbA==") >= 4, "it is shown all the same"
