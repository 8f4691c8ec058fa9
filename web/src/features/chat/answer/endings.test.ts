import { expect, test } from "vitest";
import { endingOf } from "./endings";

const ended = (
  status: "failed" | "cancelled" | "completed",
  code = "",
  reason: string | null = null,
) => ({
  status,
  error: code ? { code, message: "The reason" } : null,
  incomplete_reason: reason,
  items: [],
});

test("a whole or running answer has nothing below it", () => {
  expect(endingOf(ended("completed"), "text")).toBeNull();
  const running = { status: "streaming", error: null, incomplete_reason: null, items: [] } as const;
  expect(endingOf(running, "")).toBeNull();
});

test("a failure says its reason as a sentence and offers another try", () => {
  expect(endingOf(ended("failed", "upstream_unreachable"), "")).toEqual({
    tone: "danger",
    title: "The agent cannot be reached",
    detail: "The reason.",
    next: ["retry"],
  });
});

test("an interruption says that it does not go on by itself, and can be continued", () => {
  const ending = endingOf(ended("failed", "interrupted"), "half");
  expect(ending?.detail).toContain("does not go on by itself");
  expect(ending?.next).toEqual(["continue", "retry"]);
});

test("codes of later versions have a title too", () => {
  expect(endingOf(ended("failed", "new_code"), "")?.title).toBe("The answer failed");
});

test("what was stopped says so quietly", () => {
  expect(endingOf(ended("cancelled"), "half")?.tone).toBe("quiet");
  expect(endingOf(ended("cancelled"), "")?.next).toEqual(["retry"]);
});

test("an answer at its length limit can be continued", () => {
  expect(endingOf(ended("completed", "", "max_output_tokens"), "x")?.next).toEqual(["continue"]);
});

test("a whole answer without words says so, unless it calls something", () => {
  expect(endingOf(ended("completed"), " ")).toMatchObject({
    title: "The agent answered with nothing",
    next: ["retry"],
  });
  const call = {
    id: "1",
    type: "function_call",
    call_id: "c",
    name: "n",
    arguments: "{}",
  } as const;
  const items = [{ ...call, status: "completed" as const }];
  expect(endingOf({ ...ended("completed"), items }, "")).toBeNull();
});
