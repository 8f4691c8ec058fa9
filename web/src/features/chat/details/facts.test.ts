import { expect, test } from "vitest";
import type { RequestDetails } from "~/core/types";
import { factsOf, traceAddress } from "./facts";

const DETAILS: RequestDetails = {
  id: "resp_1",
  agent_id: "guide",
  status: "completed",
  attempt: 2,
  attempts_max: 3,
  sequence_number: 41,
  created_at: "2026-11-23T09:00:00Z",
  started_at: "2026-11-23T09:00:01Z",
  completed_at: "2026-11-23T09:00:13Z",
  usage: { input_tokens: 12, output_tokens: 400 },
  trace_id: "tr-1",
  error: null,
  incomplete_reason: null,
  events_pruned: false,
};

const value = (details: RequestDetails, name: string) =>
  factsOf(details, "Guide").find((fact) => fact.name === name)?.value;

test("times, tokens and attempts are told as people say them", () => {
  expect(value(DETAILS, "Waited")).toBe("1 s");
  expect(value(DETAILS, "Answered in")).toBe("12 s");
  expect(value(DETAILS, "Tokens")).toBe("12 read, 400 written");
  expect(value(DETAILS, "Attempts")).toContain("2");
});

test("what is not known is not told", () => {
  const waiting = { ...DETAILS, started_at: null, completed_at: null, usage: null };
  expect(value(waiting, "Answered in")).toBeUndefined();
  expect(value(waiting, "Tokens")).toBeUndefined();
});

test("a failure's reason stands with its status", () => {
  const error = { code: "x", message: "It broke." };
  expect(value({ ...DETAILS, status: "failed", error }, "Status")).toBe("Failed: It broke.");
});

test("a trace's address comes from the server's template", () => {
  expect(traceAddress("https://m.example/#/{trace_id}", "tr/1")).toBe("https://m.example/#/tr%2F1");
  expect(traceAddress("", "tr-1")).toBe("");
});
