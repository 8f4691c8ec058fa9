import { expect, test } from "vitest";
import { pathOf } from "./Plot";
import { between } from "./times";

test("what has no end yet lasts until now, and never less than nothing", () => {
  const start = "2026-03-01T10:00:00Z";
  expect(between(start, "2026-03-01T10:00:05Z")).toBe(5);
  expect(between(start, null, Date.parse(start) + 7000)).toBe(7);
  expect(between(start, null, Date.parse(start) - 7000)).toBe(0);
  expect(between(null, null)).toBeNull();
});

test("a plot's line begins at the left, ends at the right, and touches top and ground", () => {
  expect(pathOf([0, 4, 2], 4)).toBe("M0.0 70.0L150.0 4.0L300.0 37.0");
  expect(pathOf([], 1)).toBe("");
  expect(pathOf([1], 1)).toBe("M0.0 4.0");
});
