/** The page's fold says what the server's says, on the very same recorded streams. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, test } from "vitest";
import { Fold, type StreamEvent } from "./fold";
import type { Item } from "./types";

const FOLDER = join(process.cwd(), "../tests/fixtures/streams");

interface Recorded {
  name: string;
  events: StreamEvent[];
  texts: string[];
  text: string;
  output: Item[];
  status: string;
  attempt: number;
  error: unknown;
  usage: unknown;
  incomplete_reason: string | null;
}

const recorded: Recorded[] = readdirSync(FOLDER)
  .filter((name) => name.endsWith(".json"))
  .map((name) => JSON.parse(readFileSync(join(FOLDER, name), "utf8")));

function whole(stream: Recorded): Fold {
  const fold = new Fold();
  for (const event of stream.events) fold.apply(event);
  return fold;
}

test("there are recorded streams", () => {
  expect(recorded.length).toBeGreaterThan(10);
});

describe.each(recorded)("$name", (stream) => {
  it("has the recorded text after each event", () => {
    const fold = new Fold();
    const texts = stream.events.map((event) => {
      fold.apply(event);
      return fold.text();
    });
    expect(texts).toEqual(stream.texts);
  });

  it("folds to the recorded end", () => {
    const { answer, text, status, attempt, error, usage, incomplete_reason } = summary(
      whole(stream),
    );
    expect(answer).toEqual(stream.output);
    expect(text).toBe(stream.text);
    expect({ status, attempt, error, usage, incomplete_reason }).toEqual({
      status: stream.status,
      attempt: stream.attempt,
      error: stream.error,
      usage: stream.usage,
      incomplete_reason: stream.incomplete_reason,
    });
  });

  it("goes on from a snapshot taken after any event", () => {
    for (let cut = 1; cut < stream.events.length; cut += 1) {
      const before = new Fold();
      for (const event of stream.events.slice(0, cut)) before.apply(event);
      const fold = Fold.from({
        status: before.status,
        sequence_number: before.sequence_number,
        items: structuredClone(before.answer()),
        error: null,
        incomplete_reason: null,
      });
      expect(fold.text()).toBe(before.text());
      for (const event of stream.events.slice(fold.sequence_number + 1)) {
        fold.apply(event);
        const text = stream.texts[Math.max(event.sequence_number, cut - 1)];
        expect(fold.text(), `cut ${cut}`).toBe(text);
      }
      expect(fold.answer()).toEqual(stream.output);
    }
  });
});

function summary(fold: Fold) {
  return { ...fold, answer: fold.answer(), text: fold.text() };
}

test("an event out of turn is refused", () => {
  const fold = new Fold();
  expect(() => fold.apply({ type: "response.created", sequence_number: 1 })).toThrow(
    "cannot follow",
  );
});

test("text for an item that was never added is refused, and changes nothing", () => {
  const fold = new Fold();
  fold.apply({ type: "response.created", sequence_number: 0 });
  const event = { type: "response.output_text.delta", sequence_number: 1, item_id: "msg_x" };
  expect(() => fold.apply({ ...event, delta: "a" })).toThrow("makes no sense");
  expect(fold.sequence_number).toBe(0);
});

test("unknown types change nothing but the number", () => {
  const fold = new Fold();
  fold.apply({ type: "response.surprise", sequence_number: 0 });
  expect([fold.sequence_number, fold.text()]).toEqual([0, ""]);
});

test("untouched items keep their identity", () => {
  const stream = recorded.find(({ name }) => name === "tools") as Recorded;
  const fold = new Fold();
  let settled: Item | undefined;
  for (const event of stream.events.slice(0, -1)) {
    fold.apply(event);
    const first = fold.answer()[0];
    if (settled) expect(first).toBe(settled);
    if (event.type === "response.output_item.done") settled ??= first;
  }
  expect(settled).toBeDefined();
});
