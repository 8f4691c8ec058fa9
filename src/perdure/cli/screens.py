"""How an answer appears: live Markdown in a terminal, plain text in a pipe, JSON for programs.

The answer itself goes to standard output; notes about it go to standard error. What an agent says
steers no terminal; a pipe gets it as it is.
"""

from __future__ import annotations

import sys
from typing import Protocol, TextIO

from perdure.cli.answer import Answer
from perdure.cli.blocks import split_closed
from perdure.steering import harmless


class Screen(Protocol):
    """Shows one answer while it grows."""

    def event(self, raw: bytes, answer: Answer) -> None:
        """Show an event: its JSON as received, and the answer after it."""
        ...

    def waiting(self, position: int | None) -> None:
        """Say that the request waits, `position` = 1 is next (None: not known)."""
        ...

    def note(self, sentence: str) -> None:
        """Say something about the connection or the request."""
        ...

    def close(self, answer: Answer) -> None:
        """Leave the screen in order; the answer is as complete as it will be shown."""
        ...


class SilentScreen:
    """Shows nothing but notes; for `--json`, which prints one object at the end."""

    def event(self, raw: bytes, answer: Answer) -> None:
        """Show nothing."""

    def waiting(self, position: int | None) -> None:
        """Show nothing."""

    def note(self, sentence: str) -> None:
        """Print to standard error."""
        print(harmless(sentence), file=sys.stderr, flush=True)

    def close(self, answer: Answer) -> None:
        """Show nothing."""


class LinesScreen(SilentScreen):
    """Prints every event as one line of JSON."""

    def event(self, raw: bytes, answer: Answer) -> None:
        """Print the event as it came."""
        del answer
        print(raw.decode("utf-8", "replace"), flush=True)


class PlainScreen(SilentScreen):
    """Prints the text as it grows; nothing is ever taken back."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._shown = ""
        self._told = False

    def event(self, raw: bytes, answer: Answer) -> None:
        """Print what is new."""
        del raw
        self._grow(answer.text)

    def waiting(self, position: int | None) -> None:
        """Say it once: a pipe needs no progress."""
        if not self._told:
            self._told = True
            self.note(_queued(position))

    def close(self, answer: Answer) -> None:
        """Print the rest and end the line."""
        self._grow(answer.text)
        if self._shown and not self._shown.endswith("\n"):
            self._write("\n")

    def _grow(self, text: str) -> None:
        if not text.startswith(self._shown):
            self.note("\n(The answer was begun anew; what follows replaces the text above.)")
            self._shown = ""
        self._write(text[len(self._shown) :])
        self._shown = text

    def _write(self, piece: str) -> None:
        if piece:
            self._out.write(piece)
            self._out.flush()


class LiveScreen(SilentScreen):
    """Renders Markdown as it grows: finished blocks are printed, the last one is redrawn.

    Reasoning is shown dimmed until the answer's own text begins.
    """

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415  # only a terminal pays for rich
        from rich.live import Live  # noqa: PLC0415

        self._console = Console()
        self._live = Live(console=self._console, refresh_per_second=12, transient=True)
        self._printed = ""
        self._tools_shown = 0
        self._reasoned = False
        self._live.start()

    def event(self, raw: bytes, answer: Answer) -> None:
        """Print blocks that are finished and redraw the open one."""
        del raw
        self._print_asides(answer)
        text = harmless(answer.text)
        if not text.startswith(self._printed):
            self.note("The answer was begun anew; what follows replaces the text above.")
            self._printed = ""
        closed, _ = split_closed(text[len(self._printed) :])
        if closed:
            self._print(closed)
            self._printed += closed
        self._draw(answer, text[len(self._printed) :])

    def _draw(self, answer: Answer, rest: str) -> None:
        from rich.markdown import Markdown  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        height = max(3, self._console.height - 4)
        if rest.strip():
            self._live.update(Markdown("\n".join(rest.splitlines()[-height:])))
        elif not answer.text and answer.reasoning:
            lines = harmless(answer.reasoning).splitlines()[-height:]
            self._live.update(Text("\n".join(lines), style="dim italic"))
        else:
            self._live.update(Text("…" if not answer.ended else "", style="dim"))

    def _print_asides(self, answer: Answer) -> None:
        """Print tools as they are called, and the reasoning once the answer's own text begins."""
        for name in answer.tools[self._tools_shown :]:
            self._live.console.print(f"⚙ {harmless(name)}", style="dim", markup=False)
        self._tools_shown = len(answer.tools)
        if answer.text and answer.reasoning and not self._reasoned:
            self._reasoned = True
            reasoning = harmless(answer.reasoning)
            self._live.console.print(reasoning, style="dim italic", markup=False)
            self._live.console.print()

    def _print(self, markdown: str) -> None:
        from rich.markdown import Markdown  # noqa: PLC0415

        self._live.console.print(Markdown(markdown))
        self._live.console.print()

    def waiting(self, position: int | None) -> None:
        """Show the place in the queue."""
        from rich.text import Text  # noqa: PLC0415

        self._live.update(Text(_queued(position), style="dim"))

    def note(self, sentence: str) -> None:
        """Print above the live part, dimmed."""
        # Unwrapped, so that a command in it can be copied whole.
        self._live.console.print(
            harmless(sentence), style="dim", markup=False, highlight=False, soft_wrap=True
        )

    def close(self, answer: Answer) -> None:
        """Print the open block for good and give the terminal back."""
        from rich.markdown import Markdown  # noqa: PLC0415

        self._live.stop()
        text = harmless(answer.text)
        rest = text.removeprefix(self._printed)
        if rest.strip():
            self._console.print(Markdown(rest))
        self._printed = text


def screen_for(*, as_json: bool, lines: bool = False) -> Screen:
    """Return the screen that fits where standard output goes."""
    if as_json:
        return LinesScreen() if lines else SilentScreen()
    return LiveScreen() if sys.stdout.isatty() else PlainScreen()


def _queued(position: int | None) -> str:
    return "Queued." if position is None else f"Queued, at place {position}."
