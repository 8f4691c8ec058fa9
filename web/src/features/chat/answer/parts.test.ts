import { describe, expect, test } from "vitest";
import type { Item, Transcript } from "~/core/types";
import { partsOf, sourcesOf, textOf } from "./parts";

const message = (text: string, status: "in_progress" | "completed" = "completed"): Item => ({
  type: "message",
  id: "msg_1",
  status,
  role: "assistant",
  content: [{ type: "output_text", text, annotations: [] }],
});
const call: Item = {
  type: "function_call",
  id: "fc_1",
  call_id: "call_1",
  name: "weather",
  arguments: '{"city":"Bern"}',
  status: "completed",
};
const result: Item = {
  type: "function_call_output",
  id: "fco_1",
  call_id: "call_1",
  output: "12 degrees",
};

const parts = (items: Item[], status: Transcript["status"] = "streaming", seen = {}) =>
  partsOf({ items, status, seen });

describe("partsOf", () => {
  test("a tool's result stands in its call, wherever it came", () => {
    expect(parts([call, message("It is 12."), result])).toMatchObject([
      { kind: "tool", name: "weather", output: "12 degrees", state: "done" },
      { kind: "text", text: "It is 12." },
    ]);
  });

  test("a call without a result runs while the answer does, and is stopped with it", () => {
    expect(parts([call])).toMatchObject([{ state: "running" }]);
    expect(parts([call], "cancelled")).toMatchObject([{ state: "stopped", output: null }]);
  });

  test("a call in a whole answer was made, though nobody tells its result", () => {
    expect(parts([call], "completed")).toMatchObject([{ state: "called", output: null }]);
  });

  test("text is cut off when its answer or itself ended in the middle", () => {
    expect(parts([message("a")], "completed")).toMatchObject([{ cut: false }]);
    expect(parts([message("a", "in_progress")])).toMatchObject([{ cut: false }]);
    expect(parts([message("a", "in_progress")], "cancelled")).toMatchObject([{ cut: true }]);
  });

  test("text grows only while its answer runs", () => {
    expect(parts([message("a", "in_progress")])).toMatchObject([{ growing: true }]);
    expect(parts([message("a", "in_progress")], "failed")).toMatchObject([{ growing: false }]);
  });

  test("reasoning has its duration when the page saw it", () => {
    const item: Item = {
      type: "reasoning",
      id: "rs_1",
      status: "completed",
      summary: [{ type: "summary_text", text: "Hm." }],
    };
    const seen = { rs_1: { began: 1000, ended: 4500 } };
    expect(parts([item], "streaming", seen)).toMatchObject([{ state: "done", seconds: 3.5 }]);
    expect(parts([item])).toMatchObject([{ seconds: null }]);
  });

  test("empty messages are not shown", () => {
    expect(parts([message("", "in_progress")])).toEqual([]);
  });
});

test("each source once, and none that is not of the web", () => {
  const annotations = [
    { type: "url_citation", url: "https://a.example", title: "A" },
    { type: "url_citation", url: "https://a.example", title: "A" },
    { type: "url_citation", url: "javascript:alert(1)", title: "B" },
    { type: "file_citation" },
  ];
  expect(sourcesOf(annotations)).toEqual([{ address: "https://a.example", title: "A" }]);
});

test("copying takes the text, not the tools", () => {
  expect(textOf(parts([call, result, message("One.")]))).toBe("One.");
});
