"""A person with the official Python client, any version: tells what it saw as JSON lines.

Run with that version's interpreter: `python story.py BASE_URL`. After the line that holds `crash`
it waits for a line on its standard input, so that the server can be killed meanwhile.
"""

import json
import os
import sys
import time

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0, timeout=60)
ENDLESS = '{"chunks": 60, "stall_at": 30}'
SHORT, LONG = '{"chunks": 8}', '{"chunks": 60, "rate": 100}'
# The first call stalls in the middle until the server is killed; the next one is whole.
STALLING = json.dumps(
    {"name": str(os.getpid()), "chunks": 60, "rate": 60, "stall_at": 20, "fail_times": 1}
)
TOOL = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
CALLING = (
    '{"chunks": 0, "tool_calls": [{"name": "weather", "arguments": "{\\"city\\": \\"Bonn\\"}"}]}'
)


def tell(**seen):
    sys.stdout.write(json.dumps(seen) + "\n")
    sys.stdout.flush()


def refusal(call):
    try:
        call()
    except openai.APIStatusError as error:
        return {
            "class": type(error).__name__,
            "status": error.status_code,
            "message": error.message,
            "code": error.code,
            "param": error.param,
            "request_id": error.request_id,
        }
    return None


def polled(response):
    while response.status in ("queued", "in_progress"):
        time.sleep(0.05)
        response = client.responses.retrieve(response.id)
    return response


def asked(**more):
    return client.responses.create(model="demo", **more)


def read(stream, count=None):
    """Read some events and drop the connection, or all of them."""
    events = []
    for event in stream:
        events.append(event)
        if len(events) == count:
            break
    stream.close()
    return events


def told(events):
    deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
    return {
        "numbers": [e.sequence_number for e in events],
        "types": [e.type for e in events],
        "text": "".join(deltas),
    }


def accumulated(response_id, after):
    with client.responses.stream(response_id=response_id, starting_after=after) as stream:
        events = list(stream)
        final = stream.get_final_response()
    return {"first": events[0].sequence_number, "text": final.output_text, "status": final.status}


whole = asked(input=SHORT, metadata={"topic": "test"}, instructions="Be brief.")
tell(create=whole.model_dump(mode="json", warnings=False), text=whole.output_text)

later = asked(input=SHORT, background=True)
done = polled(later)
tell(background=[later.status, later.background, done.status, done.output_text])

events = read(asked(input=SHORT, stream=True))
tell(stream=told(events), response_id=events[0].response.id)

head = read(asked(input=LONG, stream=True, background=True), 6)
response_id, last = head[0].response.id, head[-1].sequence_number
tail = read(client.responses.retrieve(response_id, stream=True, starting_after=last))
tell(dropped=told(head), resumed=told(tail), replayed=accumulated(response_id, last))

running = asked(input=ENDLESS, background=True)
while not client.responses.retrieve(running.id).output_text:
    time.sleep(0.05)
stopped = client.responses.cancel(running.id)
again = client.responses.cancel(running.id)
tell(
    cancelled=[stopped.status, again.status, again.output_text == stopped.output_text],
    partial=stopped.output_text,
    completed=refusal(lambda: client.responses.cancel(done.id)),
)

client.responses.delete(running.id)
tell(
    deleted=refusal(lambda: client.responses.retrieve(running.id)),
    unknown=refusal(lambda: asked(input="x", previous_response_id="resp_unknown")),
    model=refusal(lambda: client.responses.create(model="none", input="x")),
    unstorable=refusal(lambda: asked(input="x", background=True, store=False)),
)

calling = asked(input=CALLING, tools=[TOOL])
call = calling.output[0]
output = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
answered = asked(input=[output], previous_response_id=calling.id, tools=[TOOL])
tell(
    call=[call.type, call.name, call.arguments],
    answered=answered.status,
    items=[item.type for item in client.responses.input_items.list(answered.id).data],
)

crashing = read(asked(input=STALLING, stream=True, background=True), 8)
tell(crash=told(crashing))
sys.stdin.readline()
response_id, last = crashing[0].response.id, crashing[-1].sequence_number
tail = read(client.responses.retrieve(response_id, stream=True, starting_after=last))
tell(survived=told(tail), replayed=accumulated(response_id, last))
