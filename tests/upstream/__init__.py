"""A scripted Chat Completions server that misbehaves on demand, and remembers every call.

Start it in this process, on a thread of its own:

    with Upstream() as upstream:
        handler = OpenAIHandler(upstream.url, "demo")      # upstream.url ends in /v1
        ...
        call = await upstream.until(lambda calls: calls[0].closed_by == "client")

or as a process (it prints its port on the first line; `--port 0` takes a free one):

    python -m tests.upstream --port 0

**The script** is a JSON object at the start of the last user message (what follows it is free text)
or, failing that, of the model name. In this process `upstream.answers` holds scripts for questions
in plain words, too (`{question: JSON}`). Without any the answer is 20 chunks, at once. All keys are
optional; unknown ones are answered with a 400. `*_at: n` means: instead of chunk n (from 0).

| key | effect |
|---|---|
| `name` | free label, to tell calls apart |
| `frames` | exactly these frames instead of an answer: JSON values, or strings as they are |
| `chunks`, `rate`, `size` | text chunks; per second (0 = as fast as possible); characters each |
| `head_s`, `ttft_s` | seconds before the response's head; between the head and the first chunk |
| `status`, `retry_after`, `retry_after_ms`, `body` | an HTTP error; `body`: see `shapes.BODIES` |
| `hang_up` | close the connection instead of answering |
| `stall_at` | write nothing more, keep the connection open |
| `gate_at`, `gate` | write nothing more until `upstream.open(gate)` |
| `drop_at` | reset the connection |
| `clean_eof_at` | end the body properly, without finish reason and `[DONE]` |
| `done_at` | `[DONE]` without finish reason (a platform's time limit) |
| `error_at`, `error_shape` | an error frame, then `[DONE]`; shapes: see `shapes.ERRORS` |
| `garbage_at` | a frame that is not JSON |
| `fail_times` | only the first n calls of this very script fail as asked; later ones succeed |
| `flood` | an endless answer, as fast as it is read |
| `split_utf8` | text of 2-, 3- and 4-byte characters, every frame cut inside one of them |
| `newline` | `"\\n"`, `"\\r\\n"` or `"\\r"` between lines |
| `comments` | a comment before every frame |
| `reasoning`, `reasoning_key` | n reasoning chunks first; `reasoning_content` or `reasoning` |
| `parts` | content as a list of parts instead of a string |
| `refusal` | a refusal text instead of the chunks |
| `tool_calls` | `[{"name", "arguments"}]` after the text, arguments in pieces of 5 characters |
| `usage` | `"last"` (default), `"each"`, `"beside"` (an empty choice beside it) or `"none"` |
| `finish` | the finish reason (default `stop`, `tool_calls` with tools); `""` = none |
| `done` | false: no `[DONE]` |
| `reject_stream_options`, `reject_continue`, `reject_max_tokens` | 400 when the request has them |
| `raw` | exactly this body, with the `content_type` |
| `whole` | one JSON completion although a stream was asked for |
| `hold` | neither the body nor the connection is ended behind the last frame |
| `tail_s` | seconds between the last frame and the end of the body |
| `content_type` | of a streamed answer |
| `framing` | `"chunked"` (default), `"length"` or `"close"` |

`/v1/responses`, `/v1/messages` and `…/invocations` are there for scripts with `frames`, which know
their dialect.

Chunk n's text is `word(n, script)`, e.g. `w7 `, so loss, doubling and disorder show; the whole text
is `text_of(script)`. A last message of role assistant is continued after the words it holds.

**The log**: `GET /log` returns `{"calls": [...]}`, see `Call`; with `?calls=2&closed=1&wait_s=5` it
waits until so many calls have begun and ended. Times are unix seconds. There is `GET /v1/models`.
"""

from tests.upstream.script import Script, text_of, word
from tests.upstream.server import Call, Upstream

__all__ = ["Call", "Script", "Upstream", "text_of", "word"]
