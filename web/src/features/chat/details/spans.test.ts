import { expect, test } from "vitest";
import type { Span } from "~/core/types";
import { stepsOf } from "./spans";

const span = (id: string, parent_id: string | null, offset_ms: number): Span => ({
  id,
  parent_id,
  name: id,
  kind: "TOOL",
  status: "OK",
  offset_ms,
  duration_ms: 1,
  inputs: null,
  outputs: null,
  error: null,
});

const shape = (spans: Span[]) => stepsOf(spans).map(({ span, depth }) => `${depth}${span.id}`);

test("each step stands below the one that caused it, in the order of their start", () => {
  const spans = [span("a", null, 0), span("c", "a", 9), span("b", "a", 3), span("d", "b", 4)];
  expect(shape(spans)).toEqual(["0a", "1b", "2d", "1c"]);
});

test("a step whose cause is not told stands by itself", () => {
  expect(shape([span("a", "gone", 0)])).toEqual(["0a"]);
});

test("steps that name each other in a circle hang nobody", () => {
  expect(shape([span("a", null, 0), span("b", "c", 1), span("c", "b", 2)])).toEqual(["0a"]);
});
