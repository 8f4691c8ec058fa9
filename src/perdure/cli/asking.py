"""`ask` and `attach`: show an answer, and let Ctrl-C leave it or, pressed twice, cancel it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TextIO

import msgspec

from perdure.cli.answer import Answer
from perdure.cli.exits import ExitCode
from perdure.cli.follow import Follower, backoff_s
from perdure.cli.remote import Lost, Remote
from perdure.cli.screens import Screen, screen_for
from perdure.errors import Invalid
from perdure.model import JSON
from perdure.steering import harmless

NOT_UTF8 = "The question is not UTF-8."
SECOND_PRESS_S = 2.0
"""How long after a Ctrl-C a second one cancels the answer."""

EXITS = {
    "completed": ExitCode.OK,
    "failed": ExitCode.FAILED,
    "cancelled": ExitCode.CANCELLED,
}


class Question(msgspec.Struct, frozen=True):
    """What is asked, of whom, in which chat; None = the default agent, a new chat."""

    text: str
    agent: str | None = None
    chat: str | None = None

    def body(self) -> JSON:
        """Return the body of `POST /api/invoke_endpoint`."""
        given = {"message": self.text, "agent_id": self.agent, "chat_id": self.chat}
        return {key: value for key, value in given.items() if value is not None}


def read(stream: TextIO) -> str:
    """Return a question that was piped in."""
    try:
        return stream.read()
    except UnicodeDecodeError:
        raise Invalid(NOT_UTF8) from None


def ask(question: Question, url: str, *, detach: bool, as_json: bool, wait_s: float) -> int:
    """Ask and show the answer; return the exit code."""
    if not question.text.strip():
        raise Invalid("There is no question. Give it as the first argument: perdure ask 'Why?'")
    if any("\ud800" <= sign <= "\udfff" for sign in question.text):  # bytes of an argument
        raise Invalid(NOT_UTF8)
    return asyncio.run(_ask(question, url, detach=detach, as_json=as_json, wait_s=wait_s))


def attach(request_id: str, url: str, *, after: int, as_json: bool, wait_s: float) -> int:
    """Show an answer that exists, from `after` on; return the exit code."""
    return asyncio.run(_attach(request_id, url, after=after, as_json=as_json, wait_s=wait_s))


async def _ask(question: Question, url: str, *, detach: bool, as_json: bool, wait_s: float) -> int:
    async with Remote(url) as remote:
        try:
            accepted = await _accepted(remote, question, wait_s)
        except asyncio.CancelledError:  # Ctrl-C
            _note("\nLeft before the question was accepted.")
            raise
        answer = Answer(str(accepted["request_id"]))
        if detach:
            print(json.dumps(accepted) if as_json else answer.request_id)
            return ExitCode.OK
        screen = screen_for(as_json=as_json)
        code = await _watch(remote, answer, screen, wait_s)
        if as_json:
            print(json.dumps(await remote.request(answer.request_id), ensure_ascii=False))
        elif code != ExitCode.DETACHED and sys.stdout.isatty():
            print(
                f"Go on in this chat: perdure ask --chat {accepted['chat_id']} …", file=sys.stderr
            )
        return code


async def _accepted(remote: Remote, question: Question, wait_s: float) -> JSON:
    """Ask until it is accepted; the key makes sure that it is asked once."""
    key, begun, failures = str(uuid.uuid4()), time.monotonic(), 0
    while True:
        try:
            return await remote.ask(question.body(), key)
        except Lost as lost:
            failures += 1
            hopeless = lost.code == "no_server" and failures == 1
            if hopeless or time.monotonic() - begun >= wait_s:
                raise
            if failures == 1:
                _note(f"{lost.detail}\nTrying again for {wait_s:g} s.")
        await asyncio.sleep(backoff_s(failures))


def _note(text: str) -> None:
    print(harmless(text), file=sys.stderr)


async def _attach(request_id: str, url: str, *, after: int, as_json: bool, wait_s: float) -> int:
    async with Remote(url) as remote:
        await remote.request(request_id)  # an unknown id is told before anything is drawn
        screen = screen_for(as_json=as_json, lines=True)
        return await _watch(remote, Answer(request_id, after), screen, wait_s)


async def _watch(remote: Remote, answer: Answer, screen: Screen, wait_s: float) -> int:
    """Follow the answer until it ends or Ctrl-C leaves it."""
    async with _presses() as pressed:
        following = asyncio.ensure_future(Follower(remote, answer, screen, wait_s).run())
        try:
            left = await _pressed_before(pressed, following)
        finally:
            screen.close(answer)
        if not left:
            return _conclude(answer, screen)
        return await _leave(remote, answer, screen, pressed)


async def _pressed_before(pressed: asyncio.Event, following: asyncio.Future[None]) -> bool:
    """Wait for the end or for Ctrl-C; raise what the following raised."""
    press = asyncio.ensure_future(pressed.wait())
    both: tuple[asyncio.Future[Any], ...] = (press, following)
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if following.done():
            following.result()
        return not following.done()
    finally:
        press.cancel()
        following.cancel()
        await asyncio.gather(*both, return_exceptions=True)


async def _leave(remote: Remote, answer: Answer, screen: Screen, pressed: asyncio.Event) -> int:
    """Say how to come back; a second Ctrl-C now cancels the answer."""
    pressed.clear()
    screen.note(
        f"\nLeft; the answer goes on. Come back with: perdure attach {answer.request_id} "
        f"--after {answer.cursor}\nPress Ctrl-C again within {SECOND_PRESS_S:g} s to cancel it.",
    )
    if not await _within(pressed.wait(), SECOND_PRESS_S):
        return ExitCode.DETACHED
    answer.settle(await remote.cancel(answer.request_id))
    return _conclude(answer, screen)


async def _within(waiting: Awaitable[object], timeout_s: float) -> bool:
    try:
        await asyncio.wait_for(waiting, timeout_s)
    except TimeoutError:
        return False
    return True


@asynccontextmanager
async def _presses() -> AsyncIterator[asyncio.Event]:
    """Turn Ctrl-C into an event while the block runs."""
    loop, pressed = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGINT, pressed.set)
    try:
        yield pressed
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _conclude(answer: Answer, screen: Screen) -> int:
    """Say what became of the answer, unless it simply is complete."""
    if answer.status == "failed":
        error = answer.error or {}
        reason = error.get("message") or "no reason was given"
        screen.note(f"Failed ({error.get('code', 'unknown')}): {reason}")
    elif answer.status == "cancelled":
        screen.note("Cancelled; the text so far is kept.")
    elif answer.incomplete:
        screen.note(f"The agent stopped early ({answer.incomplete}).")
    return EXITS[answer.status]
