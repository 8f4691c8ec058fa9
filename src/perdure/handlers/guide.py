"""The built-in agent: finds and quotes Perdure's own documentation; no model, no network.

It never pretends to think: an answer names itself a quotation, shows the sections that fit best and
the file each stands in, and says which words of the question the documentation does not know.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import apsw
import msgspec

from perdure.deltas import Delta, Finish, Text
from perdure.errors import AgentError
from perdure.model import JSON
from perdure.ports import Call

NAME = "Guide"
DESCRIPTION = "Quotes Perdure's own documentation. Works offline; it is a search, not a model."
EXAMPLES = (
    "What happens when I close the tab?",
    "How do I connect my own model?",
    "How do I write an agent in Python?",
    "How do I resume a stream after a lost connection?",
)

WORDS_MIN = 240
"""Sections are added until an answer has so many words: 20 s at the default pace."""
WORDS_MAX = 420
"""A section that would make an answer longer than this is cut or left out: 35 s."""
TERMS_MAX = 24
"""Words of a question beyond this many are not searched for."""
COVERAGE_MIN = 0.5
"""A section must know at least this share of the question's words."""
RELATED_MAX = 6
RECORDS = "docs/adr/"
RECORD_WEIGHT = {False: 0.5, True: 2.0}
"""How much a decision record counts beside other sections, by whether the question asks why."""
WHO = (
    "I am the built-in guide: not a language model, but a search that quotes Perdure's "
    "documentation."
)

_NOISE_TEXT = (
    "a about all also am an and any are as at be been but by can choose chose could detail did "
    "do does dont explain for from get give go goes going good had happen happens has have hello "
    "help hi how i if in is it its just know let like m may me mean means might much my need of "
    "on or our own please s say should show so some something t tell than thank thanks that the "
    "their them then there these they thing this to up us use using want was way we what when "
    "where which who whole why will with work works would you your"
)
_NOISE = frozenset(_NOISE_TEXT.split())
_SAME = {
    "abort": "cancel",
    "crash": "kill",
    "databases": "database",
    "db": "database",
    "llm": "model",
    "phone": "device",
    "pg": "postgresql",
    "postgres": "postgresql",
    "quit": "close",
    "sdk": "openai",
    "stop": "cancel",
    "ws": "websocket",
}
"""Words people use for words the documentation uses; both are searched for."""


class Section(msgspec.Struct, frozen=True):
    """A heading and what stands below it, up to the next one; `source` is e.g. `docs/cli.md`."""

    heading: str
    trail: str
    body: str
    source: str


class Findings(msgspec.Struct, frozen=True):
    """What a search found: sections, best first, and the question's words that are nowhere."""

    sections: Sequence[Section]
    unknown: Sequence[str]


class Library:
    """The documentation's sections under a full-text index (SQLite FTS5 in memory, bm25).

    Args:
        sections: all that can be found, a few hundred; their order is the order of reading.

    """

    def __init__(self, sections: Sequence[Section]) -> None:
        self.sections = sections
        self._db = apsw.Connection(":memory:")
        self._db.execute(
            "CREATE VIRTUAL TABLE section USING fts5("
            "heading, trail, body, content='', tokenize='porter unicode61 remove_diacritics 2')",
        )
        rows = [(n, s.heading, s.trail, s.body) for n, s in enumerate(sections)]
        self._db.executemany(
            "INSERT INTO section(rowid, heading, trail, body) VALUES(?, ?, ?, ?)",
            rows,
        )

    def search(self, question: str) -> Findings:
        """Return what fits `question`, which may be any text at all."""
        terms = terms_of(question)
        scores: defaultdict[int, float] = defaultdict(float)
        covered: defaultdict[int, int] = defaultdict(int)
        unknown = []
        for term in terms:
            hits = self._hits(term)
            if not hits:
                unknown.append(term)
            for row, score in hits:
                scores[row] += score
                covered[row] += 1
        enough = [n for n in scores if covered[n] >= COVERAGE_MIN * len(terms)]
        why = "why" in question.lower()
        worth = {
            n: scores[n] * covered[n] * (1 + self._asks(n, terms)) * self._weight(n, why=why)
            for n in enough
        }
        enough.sort(key=lambda n: (-worth[n], n))
        return Findings([self.sections[n] for n in enough], unknown)

    def _asks(self, row: int, terms: Sequence[str]) -> float:
        """Return how much a heading asks the same: the share of words they have in common."""
        heading = set(terms_of(self.sections[row].heading))
        return len(heading.intersection(terms)) / max(1, len(heading.union(terms)))

    def _weight(self, row: int, *, why: bool) -> float:
        """Return how much a section counts: decision records answer why, the others how."""
        return RECORD_WEIGHT[why] if self.sections[row].source.startswith(RECORDS) else 1.0

    def _hits(self, term: str) -> list[tuple[int, float]]:
        """Return (row, score) of every section that knows `term` or its synonym; more is better."""
        words = [term, _SAME[term]] if term in _SAME else [term]
        query = " OR ".join(f'"{word}"' for word in words)  # quoted: no word is an operator
        found = self._db.execute(
            "SELECT rowid, -bm25(section, 6.0, 2.0, 1.0) FROM section WHERE section MATCH ?",
            (query,),
        )
        return [(int(str(row)), float(str(score))) for row, score in found]


class GuideHandler:
    """Answers the last user message with the sections of the documentation that fit best.

    Args:
        words_per_s: how fast the answer is given, a pace one can read at; 0 = all at once.
        docs: a folder of Markdown files; None = the documentation that came with this package.
        clock: seconds, monotonic; tests pass their own.
        sleep: waits for some seconds; tests pass their own.

    """

    can_continue = False

    def __init__(
        self,
        words_per_s: float = 12.0,
        docs: Path | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._words_per_s = words_per_s
        self._docs = docs
        self._clock = clock
        self._sleep = sleep

    @cached_property
    def library(self) -> Library:
        """The index, made at the first question; raises `AgentError` when the docs are missing."""
        sections = [s for path, source in _files(self._docs) for s in _read(path, source)]
        if not sections:
            raise AgentError("The documentation is missing from this installation.")
        return Library(sections)

    async def stream(self, call: Call) -> AsyncGenerator[Delta, None]:
        """Yield the answer word by word, then `Finish`."""
        answer = compose(question_of(call.messages), self.library)
        started = self._clock()
        for count, word in enumerate(words_of(answer)):
            if self._words_per_s > 0:
                await self._wait_until(started + count / self._words_per_s)
            yield Text(word)
        yield Finish()

    async def _wait_until(self, moment: float) -> None:
        await self._sleep(max(0.0, moment - self._clock()))

    async def close(self) -> None:
        """Do nothing: there are no connections."""


def question_of(messages: Sequence[JSON]) -> str:
    """Return the text of the last user message; its content may be a string or parts."""
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content
            parts = content if isinstance(content, list) else []
            return "\n".join(str(p.get("text", "")) for p in parts if isinstance(p, dict))
    return ""


def terms_of(question: str) -> list[str]:
    """Return the words worth searching for, each once, in order, at most `TERMS_MAX`."""
    plain = question.encode("utf-8", "ignore").decode()  # a lone surrogate cannot be bound
    words = (word.strip("_") for word in re.findall(r"\w+", plain.lower()))
    return list(dict.fromkeys(w for w in words if w and w not in _NOISE))[:TERMS_MAX]


def words_of(text: str) -> list[str]:
    """Cut `text` into words with the white space that follows; joined they are `text` again.

    Marks that stand alone (`|`, `-`, `##`) go with the next word, so that tables do not crawl.
    """
    return re.findall(r"\s*(?:[^\w\s]+\s+)*\S+\s*", text)


def compose(question: str, library: Library) -> str:
    """Return the whole answer, in Markdown."""
    findings = library.search(question)
    if not findings.sections:
        return _no_match(library)
    quoted, rest = _choose(findings.sections)
    parts = [f"{WHO} {_best(len(quoted))}"]
    if findings.unknown:
        names = ", ".join(f"“{word}”" for word in findings.unknown)
        parts.append(f"The documentation does not mention {names}.")
    parts += [f"### {s.heading}\n\n{s.body}\n\n*From `{s.source}`.*" for s in quoted]
    if rest:
        lines = "\n".join(f"- {s.heading} (`{s.source}`)" for s in rest[:RELATED_MAX])
        parts.append(f"**Related sections**\n\n{lines}")
    return "\n\n".join(parts)


def _best(count: int) -> str:
    return "This section fits best:" if count == 1 else f"These {count} sections fit best:"


def _choose(found: Sequence[Section]) -> tuple[list[Section], list[Section]]:
    """Split into sections to quote, within the limits of words, and the others."""
    first = _cut(found[0], WORDS_MAX)
    quoted, rest, words = [first], [], len(first.body.split())
    for section in found[1:]:
        size = len(section.body.split())
        if words < WORDS_MIN and words + size <= WORDS_MAX:
            quoted.append(section)
            words += size
        else:
            rest.append(section)
    return quoted, rest


def _cut(section: Section, words_max: int) -> Section:
    """Keep whole paragraphs of a section up to `words_max` words, at least one."""
    kept: list[str] = []
    words = 0
    for block in _blocks(section.body):
        words += len(block.split())
        if kept and words > words_max:
            kept.append(f"… (cut here; the rest stands in `{section.source}`)")
            break
        kept.append(block)
    return msgspec.structs.replace(section, body="\n\n".join(kept))


def _blocks(body: str) -> Iterator[str]:
    """Yield paragraphs, tables and fenced code blocks, each whole."""
    block: list[str] = []
    for line, fenced in _lines(body):
        if line.strip() or fenced:
            block.append(line)
        elif block:
            yield "\n".join(block)
            block = []
    if block:
        yield "\n".join(block)


def _no_match(library: Library) -> str:
    """Say that nothing was found and what there is to ask about: each file and its headings."""
    headings: defaultdict[str, list[str]] = defaultdict(list)
    for section in library.sections:
        if not section.source.startswith("docs/adr/"):
            headings[section.source].append(section.heading)
    topics = "\n".join(
        f"- `{source}`: {'; '.join(names[:14])}" for source, names in headings.items()
    )
    return (
        f"Nothing in the documentation matches this question. {WHO} To talk to a model, connect "
        "one: `perdure serve --upstream URL --model NAME`.\n\n"
        f"This is what I can answer questions about:\n\n{topics}\n\n"
        f"For example: {' '.join(f'*{example}*' for example in EXAMPLES)}"
    )


def _files(docs: Path | None) -> list[tuple[Path, str]]:
    """Return the Markdown files and their names as shown; the README first."""
    package = Path(__file__).parent.parent / "docs"  # where the wheel has them
    checkout = Path(__file__).parents[3]
    folder = docs or (package if package.is_dir() else checkout / "docs")
    readme = folder / "README.md" if docs or package.is_dir() else checkout / "README.md"
    pages = [p for p in sorted(folder.rglob("*.md")) if p != folder / "README.md"]
    shown = [(page, f"docs/{page.relative_to(folder).as_posix()}") for page in pages]
    return ([(readme, "README.md")] if readme.is_file() else []) + shown


def _read(path: Path, source: str) -> list[Section]:
    return list(split(path.read_text(encoding="utf-8"), source))


def split(markdown: str, source: str) -> Iterator[Section]:
    """Yield the sections of a page that have a body; `trail` holds the headings above each."""
    trail: list[str] = []
    body: list[str] = []
    for line, fenced in _lines(markdown):
        heading = None if fenced else re.match(r"(#{1,4})\s+(.*)", line)
        if heading is None:
            body.append(line)
            continue
        yield from _section(trail, body, source)
        level = len(heading[1])
        trail = [*trail[: level - 1], _plain(heading[2]).strip(" #`")]
        body = []
    yield from _section(trail, body, source)


def _lines(markdown: str) -> Iterator[tuple[str, bool]]:
    """Yield each line, and whether it belongs to a fenced code block."""
    fenced = False
    for line in markdown.splitlines():
        fence = line.lstrip().startswith("```")
        yield line, fenced or fence
        fenced = fenced != fence


def _section(trail: Sequence[str], body: Sequence[str], source: str) -> Iterator[Section]:
    text = _plain("\n".join(body)).strip()
    if trail and text:
        yield Section(trail[-1], " ".join(trail[:-1]), text, source)


def _plain(text: str) -> str:
    """Drop what cannot be shown away from its page: relative links (kept as text), images, HTML."""
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]*\)", r"\1", text)
    return re.sub(r"(?m)^\s*<(?:!--|/?(?:p|picture|source|img|div|br)\b)[^>]*>\s*$", "", text)
