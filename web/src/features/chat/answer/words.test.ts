import { expect, test } from "vitest";
import { gist, pretty } from "./words";

test("JSON gets lines, half JSON and prose stay", () => {
  expect(pretty('{"a":1}')).toEqual({ text: '{\n  "a": 1\n}', json: true });
  expect(pretty('{"a":')).toEqual({ text: '{"a":', json: false });
  expect(pretty("12 degrees").json).toBe(false);
});

test("a call's gist is its values on one line", () => {
  expect(gist('{"city":"Bern","days":3}')).toBe("Bern, 3");
  expect(gist('{"ci')).toBe("");
  expect(gist(JSON.stringify({ q: "x".repeat(200) }))).toHaveLength(80);
});
