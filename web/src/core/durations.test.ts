import { expect, test } from "vitest";
import { durationOf } from "./durations";

test("a length of time is told in the unit that fits", () => {
  const told = [0, 0.0004, 0.8124, 0.9996, 1.44, 9.96, 59.4, 59.6, 185, 3599.6, 7500, 172_800];
  expect(told.map(durationOf)).toEqual([
    "0 ms",
    "0 ms",
    "812 ms",
    "1 s",
    "1.4 s",
    "10 s",
    "59 s",
    "1 min",
    "3 min 5 s",
    "1 h",
    "2 h 5 min",
    "2 days",
  ]);
});
