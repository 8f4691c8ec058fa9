/** One reducer for every way in: nothing twice, nothing lost, nothing older over newer. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Message } from "./api.gen";
import { Fold, type StreamEvent, textOf } from "./fold";
import { createState, type Store } from "./state";
import { Transcripts } from "./transcripts";

const FILE = join(process.cwd(), "../tests/fixtures/streams/tools.json");
const stream: { events: StreamEvent[]; text: string } = JSON.parse(readFileSync(FILE, "utf8"));
const ID = "resp_1";

let store: Store;
let transcripts: Transcripts;
let reread: [string, number][];
let ended: string[];
let frames: (() => void)[];

beforeEach(() => {
  store = createState();
  reread = [];
  ended = [];
  frames = [];
  transcripts = new Transcripts(store, {
    reread: (request_id, after) => reread.push([request_id, after]),
    ended: (request_id) => ended.push(request_id),
    frame: (act) => frames.push(act),
  });
  transcripts.begin(ID);
});

afterEach(() => {
  vi.useRealTimers();
});

const shown = () => store.getState().transcripts[ID];
const text = () => textOf(shown()?.items ?? []);
const hear = (events: readonly StreamEvent[]) => {
  for (const event of events) transcripts.hear(ID, event);
};
const paint = () => {
  for (const act of frames.splice(0)) act();
};

/** The answer as the server shows it in the chat's messages after `count` events. */
function snapshot(count: number): Message {
  const fold = new Fold();
  for (const event of stream.events.slice(0, count)) fold.apply(event);
  return {
    id: "msg_1",
    chat_id: "chat_1",
    parent_id: null,
    role: "assistant",
    content: fold.text(),
    created_at: "2026-11-26T09:00:00Z",
    request_id: ID,
    output: structuredClone(fold.answer()) as unknown as Message["output"],
    status: fold.status === "unknown" ? null : fold.status,
    sequence_number: fold.sequence_number,
    queue_position: null,
    error: null,
    incomplete_reason: null,
    trace_id: null,
  };
}

test("a whole stream makes the whole answer, told once per frame", () => {
  let changes = 0;
  store.subscribe(() => {
    changes += 1;
  });
  hear(stream.events);
  expect(changes).toBe(0);
  paint();
  expect(changes).toBe(1);
  expect(text()).toBe(stream.text);
  expect(ended).toEqual([ID]);
});

test("events that come twice count once", () => {
  hear(stream.events.slice(0, 26));
  hear(stream.events.slice(10, 26));
  hear(stream.events);
  paint();
  expect(text()).toBe(stream.text);
});

test("a hole is read again from one's own number, asked for once", () => {
  hear(stream.events.slice(0, 5));
  hear(stream.events.slice(8, 20));
  expect(reread).toEqual([[ID, 4]]);
  hear(stream.events.slice(5));
  paint();
  expect(text()).toBe(stream.text);
});

test.each([0, 3, 9, 25])("an older snapshot (%i events) changes nothing", (count) => {
  hear(stream.events.slice(0, 27));
  paint();
  const before = text();
  transcripts.take({ ...snapshot(Math.max(count, 1)), content: "", output: [] });
  paint();
  expect(text()).toBe(before);
  hear(stream.events.slice(27));
  paint();
  expect(text()).toBe(stream.text);
});

test("a newer snapshot takes the place of what one has, and goes on", () => {
  hear(stream.events.slice(0, 3));
  transcripts.take(snapshot(27));
  paint();
  expect(text()).toBe("Oslo is cold, Rome is not.");
  hear(stream.events.slice(3));
  paint();
  expect(text()).toBe(stream.text);
  expect(shown()?.status).toBe("completed");
});

test("after the end nothing changes an answer", () => {
  hear(stream.events);
  transcripts.take({ ...snapshot(5), status: "streaming", sequence_number: 99 });
  paint();
  expect([shown()?.status, text()]).toEqual(["completed", stream.text]);
});

test("an answer whose request is gone is shown by its text, as done", () => {
  const left = { ...snapshot(27), request_id: "resp_2", status: null, output: null };
  transcripts.take({ ...left, sequence_number: null });
  paint();
  const found = store.getState().transcripts.resp_2;
  expect([found?.status, textOf(found?.items ?? [])]).toEqual(["completed", left.content]);
});

test("a place in the queue is shown while it waits, and never after", () => {
  transcripts.position(ID, 3);
  paint();
  expect(shown()?.queue_position).toBe(3);
  hear(stream.events.slice(0, 2));
  transcripts.position(ID, 1);
  paint();
  expect(shown()?.queue_position).toBeNull();
});

test("an unknown request is unknown, not ended", () => {
  expect(transcripts.status("resp_other")).toBe("unknown");
});

test("an item is timed only where it was seen to begin and to end", () => {
  vi.useFakeTimers();
  const item = (event: StreamEvent | undefined) => event?.item?.id ?? "";
  const of = (type: string) => stream.events.filter((event) => event.type === type);
  const [first, last] = [
    of("response.output_item.added")[0],
    of("response.output_item.done").at(-1),
  ];
  const begins = stream.events.indexOf(first as StreamEvent) + 1;
  hear(stream.events.slice(0, begins));
  vi.advanceTimersByTime(60_000);
  transcripts.joined(ID); // the tab was hidden: what comes now has happened meanwhile
  hear(stream.events.slice(begins, -2));
  paint();
  expect(shown()?.seen).toEqual({});

  transcripts.begin("resp_2");
  for (const event of stream.events) {
    vi.advanceTimersByTime(1_000);
    transcripts.hear("resp_2", event);
  }
  paint();
  const times = store.getState().transcripts.resp_2?.seen[item(last)];
  expect((times?.ended ?? 0) - (times?.began ?? 0)).toBeGreaterThanOrEqual(1_000);
});
