"""F11: whether the work per chunk grows with the length of the answer and of the chat."""

import json

from bench.figures.readers import wait_until_done
from bench.lab import Lab
from bench.load import Load, Result, product_body
from bench.outcome import Outcome, median
from bench.servers import Server

CHATS = 6
MESSAGES = 2000
SEED = "fake-r0-c1-s250"
RATE, SIZE = 300, 350
LONG = Load(CHATS, rate=RATE, size=SIZE, chunks=1300, ramp_s=0.1, warmup_s=3.1, window_s=1.1)
SHORT = Load(CHATS, rate=RATE, size=SIZE, chunks=420, ramp_s=0.1, warmup_s=0.2, window_s=1.1)
"""A chunk of 350 bytes holds 183 of text, so the long window lies between 175 and 230 kB."""


def length(lab: Lab) -> list[Outcome]:
    """F11: CPU per chunk, 200 kB answers in chats of 2,000 messages against short ones."""
    ratios, noise, sound = [], [], True
    with lab.product() as server:
        chats = [_long_chat(server) for _ in range(CHATS)]
        for _ in range(lab.rounds):
            short = _run(lab, server, SHORT, "short answers in new chats", None)
            long = _run(lab, server, LONG, "200 kB answers in long chats", chats)
            ratios.append(long.sut_us_per_chunk / short.sut_us_per_chunk)
            sound = sound and short.kept_up and long.kept_up
            noise.append(max(short.noise, long.noise))
    what = f"work per chunk, 200 kB answer in a {MESSAGES:,}-message chat, ratio to a short one"
    return [Outcome("F11", what, "x", 1.2, ratios, noise=median(noise), sound=sound)]


def _run(lab: Lab, server: Server, load: Load, label: str, chats: list[str] | None) -> Result:
    bodies = [json.dumps({"message": load.word, "chat_id": chat}) for chat in chats or []]
    with lab.start(server, load, bodies or [product_body(load)]) as running:
        result = lab.record(label, server, running)
    lab.upstream.settle()
    return result


def _long_chat(server: Server) -> str:
    """Make a chat of 2,000 messages and return its id."""
    roles = ("user", "assistant")
    history = [{"role": roles[i % 2], "content": f"Line {i} of a chat."} for i in range(MESSAGES)]
    question = {"role": "user", "content": SEED}
    made = server.call("POST", "/api/invoke_endpoint", {"messages": [*history, question]})
    wait_until_done(server, made["request_id"])
    chat_id: str = made.get("chat_id", "")
    return chat_id
