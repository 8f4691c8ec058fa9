"""Log lines carry the ids of what is at work, for people and for programs."""

import asyncio
import io
import json
import logging
from contextvars import Context

import pytest

from perdure import logs
from perdure.settings import Settings

LINE = logging.getLogger("perdure.lines")


def lines_of(log_format: str, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Set logging up anew, into a buffer."""
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", logging.WARNING)
    logs.set_up(Settings.model_validate({"log_format": log_format}))
    return written


def test_a_json_line_tells_which_request_and_call_it_is_about(monkeypatch):
    written = lines_of("json", monkeypatch)

    def work() -> None:
        logs.REQUEST.set("resp_1")
        logs.CALL.set("abc")
        LINE.warning("told %s", "twice\nor thrice")
        try:
            int("odd")
        except ValueError:
            LINE.exception("it broke")

    Context().run(work)
    LINE.info("of nobody")
    first, second, third = map(json.loads, written.getvalue().splitlines())
    assert (first["request_id"], first["call_id"], first["level"]) == ("resp_1", "abc", "warning")
    assert first["message"] == "told twice\nor thrice"
    assert "ValueError: invalid literal" in second["exception"]
    assert third.keys() == {"time", "level", "logger", "message"}


def test_a_line_for_people_names_the_request_once(monkeypatch):
    written = lines_of("text", monkeypatch)

    def work() -> None:
        logs.REQUEST.set("resp_1")
        LINE.info("resp_1 ended")
        LINE.info("something")

    Context().run(work)
    first, second = written.getvalue().splitlines()
    assert first.endswith("resp_1 ended")
    assert second.endswith("something (request resp_1)")


def test_a_text_from_outside_is_no_line_of_its_own_and_steers_no_terminal(monkeypatch):
    """Guard: `TextLines`. A path of a call is such a text, and so is what an upstream says."""
    written = lines_of("text", monkeypatch)
    forged = "2026-01-01 00:00:00,000 INFO perdure: all is well"
    LINE.warning("GET %s broke", f"/\n{forged}\r{forged}\x1b[2J\u202e")
    try:
        int(f"said\n{forged}")
    except ValueError:
        LINE.exception("it broke")
    told = written.getvalue()
    assert not [line for line in told.split("\n") if line.startswith(forged)]
    assert not {"\x1b", "\r", "\u202e"} & set(told)
    assert told.count(forged) >= 2, "it is told all the same"


def test_a_line_with_half_a_character_is_written_all_the_same(monkeypatch):
    """Guard: `clean` in `JsonLines`; else the encoder would lose the whole line."""
    written = lines_of("json", monkeypatch)
    LINE.warning("said %s", "\ud83d")
    assert json.loads(written.getvalue())["message"] == "said \ufffd"


async def test_what_is_at_work_in_one_task_is_not_told_of_another(monkeypatch):
    written = lines_of("json", monkeypatch)

    async def work(request_id: str) -> None:
        logs.REQUEST.set(request_id)
        await asyncio.sleep(0)
        LINE.info("at work")

    await asyncio.gather(work("resp_1"), work("resp_2"))
    told = [json.loads(line)["request_id"] for line in written.getvalue().splitlines()]
    assert sorted(told) == ["resp_1", "resp_2"]
