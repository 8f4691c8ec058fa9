import { expect, test } from "vitest";
import { facts } from "./words";

const token = {
  scopes: ["read" as const, "write" as const],
  created_at: "2026-01-02T12:00:00Z",
  expires_at: null,
  used_at: null,
};
const now = new Date("2026-06-01T12:00:00Z");

test("a token that never ends does not say when", () => {
  expect(facts(token, now)).toMatch(/^reads and asks · made .*2026 · never used$/);
});

test("one that is over says so", () => {
  const over = { ...token, scopes: ["read" as const], expires_at: "2026-05-01T12:00:00Z" };
  expect(facts({ ...over, used_at: "2026-04-01T12:00:00Z" }, now)).toMatch(
    /^only reads · made .* · last used .* · ended /,
  );
  expect(facts(over, new Date("2026-02-01T12:00:00Z"))).toMatch(/ends [^·]*$/);
});
