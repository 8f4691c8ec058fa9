import { expect, test } from "vitest";
import { languageOf } from "./languages";

test("the words that models use mean their languages", () => {
  expect(languageOf("TypeScript")).toBe("typescript");
  expect(languageOf("py")).toBe("python");
  expect(languageOf("bash")).toBe("shellscript");
});

test("others are shown plainly", () => {
  expect(languageOf("brainfuck")).toBeNull();
  expect(languageOf("")).toBeNull();
});
