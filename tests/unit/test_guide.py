"""The guide finds the right section, says honestly what it is, and speaks at a reader's pace."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import deltas
from perdure.errors import AgentError
from perdure.handlers import guide
from perdure.ports import Call

LIBRARY = guide.GuideHandler(0).library


class Clock:
    """Time that passes only by sleeping in it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def read(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def call(*messages: dict[str, object]) -> Call:
    return Call("resp_1", "chat_1", "local", "guide", messages)


async def spoken(handler: guide.GuideHandler, question: str) -> list[deltas.Delta]:
    return [delta async for delta in handler.stream(call({"role": "user", "content": question}))]


@pytest.mark.parametrize(
    ("question", "heading"),
    [
        ("What happens when I close the tab?", "What happens when I close the tab?"),
        ("How do I connect my own model?", "How do I connect my own model?"),
        ("How do I run it with Postgres?", "How do I run it with PostgreSQL?"),
        ("How can I write an agent in Python?", "How do I write an agent in Python?"),
        (
            "how to resume a lost stream",
            "How do I resume a stream after a lost connection?",
        ),
        ("stop an answer", "How do I stop an answer?"),
        ("What is a lease?", "Lease"),
        ("tell me about fencing tokens", "Fencing token"),
        ("What are the exit codes?", "Exit codes"),
        ("Can I use Celery?", "Can I use Redis or Celery?"),
        ("backup", "Backup and restore"),
        ("how to configure nginx", "Behind a proxy"),
        ("How do I change the port?", "How do I change the port or the address?"),
        ("how do I update the server", "Stop and update"),
        ("Why did you choose SQLite?", "1. SQLite through apsw"),
    ],
)
def test_a_question_finds_its_section_first(question: str, heading: str) -> None:
    assert LIBRARY.search(question).sections[0].heading == heading


@pytest.mark.parametrize("question", guide.EXAMPLES)
def test_each_example_question_has_an_answer_of_its_own(question: str) -> None:
    assert LIBRARY.search(question).sections[0].source == "docs/questions.md"


@pytest.mark.parametrize(
    "question",
    ["Explain quantum computing in detail", "write a poem about the sea", "hello", "", "¿?", "的"],
)
def test_what_is_not_in_the_documentation_is_said_to_be_missing(question: str) -> None:
    answer = guide.compose(question, LIBRARY)
    assert answer.startswith("Nothing in the documentation matches")
    assert "docs/operations.md" in answer, "it lists what it can answer"


def test_words_that_the_documentation_does_not_know_are_named() -> None:
    assert "does not mention “mongodb”" in guide.compose("a store on MongoDB", LIBRARY)


@pytest.mark.parametrize("question", [*guide.EXAMPLES, "quantum", "events", "settings"])
def test_an_answer_says_that_it_is_no_model_and_where_it_is_from(question: str) -> None:
    answer = guide.compose(question, LIBRARY)
    assert "not a language model" in answer
    assert re.search(r"`(README|docs/[\w/-]+)\.md`", answer)


@pytest.mark.parametrize("question", [*guide.EXAMPLES, "Explain quantum computing in detail"])
def test_an_answer_lasts_long_enough_to_leave_and_come_back(question: str) -> None:
    seconds = len(guide.words_of(guide.compose(question, LIBRARY))) / 12
    assert 15 <= seconds <= 60


@pytest.mark.parametrize(
    "question",
    [
        'close" OR heading MATCH "x',
        "tab NOT tab AND (",
        "heading:tab",
        "NEAR(tab close, 3)",
        "tab*",
        "^tab",
        "'; DROP TABLE section; --",
        "tab\x00close",
        "\ud800 tab",
        "_ __ ___",
        "-tab",
        "a" * 100_000,
        "tab " * 20_000,
    ],
)
def test_a_hostile_question_is_only_a_question(question: str) -> None:
    assert guide.compose(question, LIBRARY)
    assert LIBRARY.search("tab").sections, "the index is still whole"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_any_text_at_all_gets_an_answer_that_can_be_encoded(question: str) -> None:
    assert guide.compose(question, LIBRARY).encode()


@given(st.text(max_size=300))
def test_the_words_joined_are_the_text_again(text: str) -> None:
    assert "".join(guide.words_of(text)).rstrip() == text.rstrip()


async def test_the_deltas_are_the_answer_word_by_word_and_then_the_end() -> None:
    said = await spoken(guide.GuideHandler(0), "What is a lease?")
    assert said[-1] == deltas.Finish()
    words = [delta.text for delta in said[:-1] if isinstance(delta, deltas.Text)]
    assert len(words) == len(said) - 1 > 50
    assert "".join(words) == guide.compose("What is a lease?", LIBRARY)


async def test_the_pace_is_the_words_per_second_given() -> None:
    clock = Clock()
    handler = guide.GuideHandler(10.0, clock=clock.read, sleep=clock.sleep)
    said = await spoken(handler, "What is a lease?")
    assert clock.now - 1000.0 == pytest.approx((len(said) - 2) / 10.0)


async def test_a_late_loop_does_not_slow_the_answer_down_for_good() -> None:
    clock = Clock()

    async def oversleep(seconds: float) -> None:
        clock.now += seconds + (3.0 if clock.now < 1001 else 0.0)

    handler = guide.GuideHandler(10.0, clock=clock.read, sleep=oversleep)
    said = await spoken(handler, "What happens when I close the tab?")
    assert clock.now - 1000.0 == pytest.approx((len(said) - 2) / 10.0)


async def test_the_last_user_message_is_answered_whether_text_or_parts() -> None:
    messages: list[dict[str, object]] = [
        {"role": "user", "content": "What is a lease?"},
        {"role": "assistant", "content": "The time for which …"},
        {"role": "user", "content": [{"type": "input_text", "text": "exit codes"}, {"type": "x"}]},
    ]
    said = [delta async for delta in guide.GuideHandler(0).stream(call(*messages))]
    text = "".join(delta.text for delta in said if isinstance(delta, deltas.Text))
    assert "### Exit codes" in text


async def test_without_documentation_it_fails_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="documentation is missing"):
        await spoken(guide.GuideHandler(0, tmp_path), "anything")


def test_a_heading_inside_a_code_block_begins_no_section() -> None:
    page = "# Page\n\nBefore.\n\n```\n# a comment\n```\n\nAfter.\n"
    (section,) = guide.split(page, "docs/page.md")
    assert (section.heading, section.body.count("#")) == ("Page", 1)


def test_links_to_other_pages_become_text_and_those_to_the_web_stay() -> None:
    page = "# Page\n\nSee [agents](agents.md#x) and [the web](https://example.org).\n"
    (section,) = guide.split(page, "docs/page.md")
    assert section.body == "See agents and [the web](https://example.org)."


def test_a_long_section_is_cut_between_paragraphs_and_says_where_the_rest_is(
    tmp_path: Path,
) -> None:
    paragraph = "lantern " * 100
    (tmp_path / "long.md").write_text("# Lantern\n\n" + f"{paragraph}\n\n" * 9, "utf-8")
    answer = guide.compose("lantern", guide.GuideHandler(0, tmp_path).library)
    assert 300 < answer.count("lantern ") <= guide.WORDS_MAX
    assert "the rest stands in `docs/long.md`" in answer


def test_it_cannot_continue_an_answer() -> None:
    assert guide.GuideHandler.can_continue is False
