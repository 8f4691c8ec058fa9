// A person with the official JavaScript client, any version: tells what it saw as JSON lines.
// Run as `node story.mjs BASE_URL PACKAGE`; see story.py, whose twin this is.
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const [baseURL, name] = process.argv.slice(2);
const { default: OpenAI } = await import(name);
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0, timeout: 60_000 });
const SHORT = '{"chunks": 8}';
const ENDLESS = '{"chunks": 60, "stall_at": 30}';
const LONG = '{"chunks": 60, "rate": 100}';
// The first call stalls in the middle until the server is killed; the next one is whole.
const STALLING = JSON.stringify({
  name: String(process.pid),
  chunks: 60,
  rate: 60,
  stall_at: 20,
  fail_times: 1,
});
const TOOL = {
  type: "function",
  name: "weather",
  parameters: { type: "object", properties: { city: { type: "string" } } },
};
const CALLING =
  '{"chunks": 0, "tool_calls": [{"name": "weather", "arguments": "{\\"city\\": \\"Bonn\\"}"}]}';

const tell = (seen) => console.log(JSON.stringify(seen));
const asked = (more) => client.responses.create({ model: "demo", ...more });
const textOf = (response) =>
  response.output
    .flatMap((item) => (item.type === "message" ? item.content : []))
    .map((part) => part.text)
    .join("");

async function refusal(call) {
  try {
    await call();
  } catch (error) {
    const { status, message, code, param, requestID } = error;
    return { class: error.constructor.name, status, message, code, param, request_id: requestID };
  }
  return null;
}

async function polled(response) {
  while (["queued", "in_progress"].includes(response.status)) {
    await sleep(50);
    response = await client.responses.retrieve(response.id);
  }
  return response;
}

async function read(stream, count) {
  const events = [];
  for await (const event of stream) {
    events.push(event);
    if (events.length === count) break;
  }
  return events;
}

const told = (events) => ({
  numbers: events.map((event) => event.sequence_number),
  types: events.map((event) => event.type),
  text: events
    .filter((event) => event.type === "response.output_text.delta")
    .map((event) => event.delta)
    .join(""),
});

async function accumulated(response_id, after) {
  const stream = client.responses.stream({ response_id, starting_after: after });
  const events = await read(stream);
  const final = await stream.finalResponse();
  return { first: events[0].sequence_number, text: textOf(final), status: final.status };
}

const whole = await asked({
  input: SHORT,
  metadata: { topic: "test" },
  instructions: "Be brief.",
});
const { output_text: text, _request_id: _, ...created } = whole;
tell({ create: created, text });

const later = await asked({ input: SHORT, background: true });
const done = await polled(later);
tell({ background: [later.status, later.background, done.status, textOf(done)] });

const events = await read(await asked({ input: SHORT, stream: true }));
tell({ stream: told(events), response_id: events[0].response.id });

const head = await read(await asked({ input: LONG, stream: true, background: true }), 6);
{
  const id = head[0].response.id;
  const last = head.at(-1).sequence_number;
  const tail = await read(
    await client.responses.retrieve(id, { stream: true, starting_after: last }),
  );
  tell({ dropped: told(head), resumed: told(tail), replayed: await accumulated(id, last) });
}

const running = await asked({ input: ENDLESS, background: true });
while (!textOf(await client.responses.retrieve(running.id))) await sleep(50);
const stopped = await client.responses.cancel(running.id);
const again = await client.responses.cancel(running.id);
tell({
  cancelled: [stopped.status, again.status, textOf(again) === textOf(stopped)],
  partial: textOf(stopped),
  completed: await refusal(() => client.responses.cancel(done.id)),
});

await client.responses.delete(running.id);
tell({
  deleted: await refusal(() => client.responses.retrieve(running.id)),
  unknown: await refusal(() => asked({ input: "x", previous_response_id: "resp_unknown" })),
  model: await refusal(() => client.responses.create({ model: "none", input: "x" })),
  unstorable: await refusal(() => asked({ input: "x", background: true, store: false })),
});

const calling = await asked({ input: CALLING, tools: [TOOL] });
const [call] = calling.output;
const answered = await asked({
  input: [{ type: "function_call_output", call_id: call.call_id, output: "rain" }],
  previous_response_id: calling.id,
  tools: [TOOL],
});
const items = await client.responses.inputItems.list(answered.id);
tell({
  call: [call.type, call.name, call.arguments],
  answered: answered.status,
  items: items.data.map((item) => item.type),
});

const crashing = await read(await asked({ input: STALLING, stream: true, background: true }), 8);
tell({ crash: told(crashing) });
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
await lines.next();
{
  const id = crashing[0].response.id;
  const last = crashing.at(-1).sequence_number;
  const tail = await read(
    await client.responses.retrieve(id, { stream: true, starting_after: last }),
  );
  tell({ survived: told(tail), replayed: await accumulated(id, last) });
}
process.exit(0);
