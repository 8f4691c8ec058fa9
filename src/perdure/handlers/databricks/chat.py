"""The stream of an endpoint that takes `messages`: ChatAgent chunks or Chat Completions. Pure.

Which of the two comes is seen by its frames, since not every endpoint may be asked for its task.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from perdure.deltas import Delta, Finish, Text, ToolCall, ToolResult, Trace
from perdure.handlers import failures
from perdure.handlers.completions import REASONS, Answer, usages
from perdure.handlers.databricks.traces import trace_in
from perdure.handlers.forms import frame_of
from perdure.model import JSON
from perdure.talk import text_in

DONE = b"[DONE]"


class Chat:
    """Reads one answer.

    Attributes:
        ended: the end came; nothing after it counts.

    """

    def __init__(self, *secrets: str) -> None:
        self.ended = False
        self._secrets = secrets
        self._completion: Answer | None = None
        self._agent = ChatAgent()
        self._trace_id: str | None = None

    @property
    def flows(self) -> bool:
        """Whether more of the answer is to come."""
        return not self.ended and (self._completion is None or self._completion.flows)

    @property
    def whole(self) -> bool:
        """Whether a finish reason has come."""
        if self._completion is not None:
            return self._completion.reason is not None
        return self._agent.reason is not None

    def read(self, data: bytes) -> Iterator[Delta]:
        """Yield what a frame says. Raises `UpstreamError` for failures and garbage."""
        if self.ended or data[:6] == DONE:
            self.ended = True
            return
        frame = frame_of(data)
        yield from self._trace(frame)
        if not isinstance(frame, dict):
            return
        if "choices" in frame or self._completion is not None:
            yield from self._completed().deltas(b"data: %b\n\n" % data)
        else:
            yield from self._agent_frame(frame)

    def read_whole(self, answer: Any) -> Iterator[Delta]:
        """Yield what an answer says that came in one piece."""
        if not isinstance(answer, dict):
            raise failures.garbage("an answer that is no object.")
        yield from self._trace(answer)
        if "choices" in answer:
            yield from self._completed().read_whole(msgspec.json.encode(answer))
        elif isinstance(answer.get("messages"), list):
            for message in answer["messages"]:
                yield from self._agent_frame({"delta": message})
            yield from self._agent_frame({**answer, "finish_reason": answer.get("finish_reason")})
            yield from self._agent.close()
        else:
            error = failures.in_stream(answer, *self._secrets, first=True)
            raise error or failures.garbage("an answer without a message.")
        self.ended = True

    def rest(self) -> Iterator[Delta]:
        """Yield what waited for the end."""
        yield from self._agent.close()

    def finish(self) -> Finish:
        """Return the last delta. Raises `UpstreamError` if the end did not come."""
        if self._completion is not None:
            self._completion.done = self.ended
            return self._completion.finish()
        if not self.ended:
            raise failures.dropped("the stream ended without [DONE].")
        return Finish(REASONS.get(self._agent.reason or "", "stop"))

    def _completed(self) -> Answer:
        if self._completion is None:
            self._completion = Answer(*self._secrets)
        return self._completion

    def _agent_frame(self, frame: JSON) -> Iterator[Delta]:
        error = failures.in_stream(frame, *self._secrets, first=not self._agent.begun)
        if error is not None:
            raise error
        try:
            yield from self._agent.read(frame)
        except (KeyError, TypeError, AttributeError) as problem:
            raise failures.garbage(f"a chunk without {problem}.") from None

    def _trace(self, frame: Any) -> Iterator[Delta]:
        trace_id = trace_in(frame)
        if trace_id and trace_id != self._trace_id:
            self._trace_id = trace_id
            yield Trace(trace_id)


class ChatAgent:
    """The chunks of a ChatAgent: messages by their id, some of them a tool's."""

    def __init__(self) -> None:
        self.begun = False
        self.reason: str | None = None
        self._calls: set[str] = set()
        self._result: tuple[str, str, str] | None = None

    def read(self, frame: JSON) -> Iterator[Delta]:
        """Yield what a chunk says; a tool's message waits until it is whole."""
        delta = frame.get("delta") or {}
        if delta:
            self.begun = True
            if delta.get("role") == "tool":
                yield from self._tool(delta)
            else:
                yield from self.close()
                yield from self._assistant(delta)
        if frame.get("finish_reason"):
            self.reason = str(frame["finish_reason"])
        yield from usages(frame.get("usage"))

    def close(self) -> Iterator[Delta]:
        """Yield the tool's message that waited."""
        if self._result is not None:
            _, call_id, output = self._result
            self._result = None
            yield ToolResult(call_id, output)

    def _assistant(self, delta: JSON) -> Iterator[Delta]:
        message_id = delta.get("id") or ""
        if delta.get("content"):
            yield Text(text_in(delta["content"]), message_id)
        for place, call in enumerate(delta.get("tool_calls") or ()):
            call_id, function = call.get("id") or "", call["function"]
            key = call_id or f"{message_id}#{place}"
            if key not in self._calls:
                self._calls.add(key)
                yield ToolCall(key, function.get("arguments") or "", function["name"], call_id)

    def _tool(self, delta: JSON) -> Iterator[Delta]:
        """Gather the pieces of a tool's message, which share an id."""
        message_id, call_id = delta.get("id") or "", delta.get("tool_call_id") or ""
        said = text_in(delta.get("content"))
        before = self._result
        if before is not None and before[:2] == (message_id, call_id):
            said = before[2] + said
        else:
            yield from self.close()
        self._result = (message_id, call_id, said)
