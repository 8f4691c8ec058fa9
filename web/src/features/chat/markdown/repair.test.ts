import { expect, test } from "vitest";
import { repair } from "./repair";

test("a table's head is a table before its second row is there", () => {
  expect(repair("| a | b |")).toBe("| a | b |\n| - | - |");
  expect(repair("| a | b |\n|--")).toBe("| a | b |\n| - | - |");
  expect(repair("Words\n| a | b |\n|---|")).toContain("| - | - |");
});

test("a table that is whole stays as it is", () => {
  const table = "| a | b |\n|---|---|\n| 1 | 2 |";
  expect(repair(table)).toBe(table);
  expect(repair(`${table}\n| 3`)).toBe(`${table}\n| 3`);
});

test("marks that may become anything wait for what they become", () => {
  expect(repair("A title\n--")).toBe("A title\n");
  expect(repair("A list:\n-")).toBe("A list:\n");
  expect(repair("Words\n1.")).toBe("Words\n");
  expect(repair("- a\n- ")).toBe("- a\n");
});

test("half-open emphasis, code and links look as they will", () => {
  expect(repair("some **bold")).toBe("some **bold**");
  expect(repair("some `code")).toBe("some `code`");
  expect(repair("see [the page](https://exam")).toBe("see the page");
});

test("whole text is left alone", () => {
  const text = "Some **bold** words, `code` and [a link](https://a.example).";
  expect(repair(text)).toBe(text);
});

test("a line break that is half there is not shown", () => {
  for (const half of ["<", "<b", "<br", "<br/", "<br /"]) {
    expect(repair(`| a |\n|---|\n| one${half}`)).toBe("| a |\n|---|\n| one");
  }
  expect(repair("a < b")).toBe("a < b");
});
