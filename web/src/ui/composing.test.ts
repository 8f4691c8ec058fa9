import { expect, test } from "vitest";
import { isComposing } from "./composing";

test("keys of an input method are not the page's, nor Safari's last one", () => {
  expect(isComposing(new KeyboardEvent("keydown", { key: "Enter" }))).toBe(false);
  expect(isComposing(new KeyboardEvent("keydown", { key: "Enter", isComposing: true }))).toBe(true);
  expect(isComposing({ isComposing: false, keyCode: 229 } as KeyboardEvent)).toBe(true);
});
