import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { inFrame } from "./frames";

let now = 0;

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(performance, "now").mockImplementation(() => now);
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

/** Lets time pass, for the timers and for whoever looks at the clock. */
function pass(ms: number) {
  now += ms;
  vi.advanceTimersByTime(ms);
}

test("what is cheap is shown in the next frame, what was dear is followed by a pause", () => {
  const shown: string[] = [];
  inFrame(() => shown.push("cheap"));
  pass(17);
  expect(shown).toEqual(["cheap"]);
  inFrame(() => {
    now += 80;
    shown.push("dear");
  });
  pass(17);
  expect(shown).toEqual(["cheap", "dear"]);
  pass(1); // layout and paint are over
  inFrame(() => shown.push("later"));
  pass(40);
  expect(shown).not.toContain("later");
  pass(60);
  expect(shown).toContain("later");
});

test("nothing is kept back for long", () => {
  const shown: string[] = [];
  pass(1_000);
  inFrame(() => {
    now += 10_000;
  });
  pass(17);
  pass(1);
  inFrame(() => shown.push("soon"));
  pass(300);
  expect(shown).toEqual(["soon"]);
});
