import { expect, test } from "vitest";
import { excess, meaningOf, slotOf } from "./sending";

const enter = {
  key: "Enter",
  shiftKey: false,
  altKey: false,
  ctrlKey: false,
  metaKey: false,
  composing: false,
};

test("stop has the slot while an answer runs, until something is typed", () => {
  expect(slotOf("", false)).toBe("send");
  expect(slotOf("  \n", true)).toBe("stop");
  expect(slotOf("more", true)).toBe("queue");
});

test("Enter sends, Shift and Enter break the line, or the other way round", () => {
  expect(meaningOf(enter, true)).toBe("send");
  expect(meaningOf({ ...enter, shiftKey: true }, true)).toBeNull();
  expect(meaningOf(enter, false)).toBeNull();
  expect(meaningOf({ ...enter, shiftKey: true }, false)).toBe("send");
});

test("Ctrl or Command and Enter send now", () => {
  expect(meaningOf({ ...enter, ctrlKey: true }, true)).toBe("now");
  expect(meaningOf({ ...enter, metaKey: true }, false)).toBe("send");
});

test("Enter belongs to the input method while it composes", () => {
  expect(meaningOf({ ...enter, composing: true }, true)).toBeNull();
});

test("the limit is in bytes, not in characters", () => {
  expect(excess("abc", 3)).toBe(0);
  expect(excess("äöü", 3)).toBe(3);
});
