import { expect, test } from "vitest";
import { hostOf, isInline, safeAddress } from "./address";

test("links lead to the web or to mail, nowhere else", () => {
  expect(safeAddress("https://a.example/x")).toBe("https://a.example/x");
  expect(safeAddress("mailto:a@a.example")).toBe("mailto:a@a.example");
  for (const bad of ["javascript:alert(1)", "JaVaScRiPt:x", "data:text/html,x", "/api/x", "//x"]) {
    expect(safeAddress(bad)).toBe("");
  }
});

test("only pictures that bring their own bytes are shown unasked", () => {
  expect(isInline("data:image/png;base64,AAAA")).toBe(true);
  expect(isInline("data:image/svg+xml;base64,AAAA")).toBe(false);
  expect(isInline("https://a.example/x.png")).toBe(false);
});

test("a host is told without its www", () => {
  expect(hostOf("https://www.a.example/x")).toBe("a.example");
  expect(hostOf("nonsense")).toBe("");
});
