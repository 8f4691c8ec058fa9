import { expect, test } from "vitest";
import { againOf } from "./again";

test("a second attempt says why there is one", () => {
  expect(againOf(2, "upstream_dropped")).toBe("Started again after the agent hung up (attempt 2)");
  expect(againOf(3, "a reason of a later version")).toContain("an interruption (attempt 3)");
});

test("a first attempt says nothing", () => {
  expect(againOf(0, null)).toBe("");
  expect(againOf(1, null)).toBe("");
});
