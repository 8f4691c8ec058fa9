import { expect, test } from "vitest";
import { Pace } from "./pace";

test("cheap steps grow, at most twofold; dear ones shrink at once", () => {
  const pace = new Pace(6);
  pace.measured(6, 1);
  expect(pace.pieces).toBe(12);
  pace.measured(12, 1);
  expect(pace.pieces).toBe(24);
  pace.measured(24, 48);
  expect(pace.pieces).toBe(3);
  pace.measured(3, 1000);
  expect(pace.pieces).toBe(1);
});

test("a step without pieces says nothing", () => {
  const pace = new Pace(6);
  pace.measured(0, 50);
  expect(pace.pieces).toBe(6);
});
