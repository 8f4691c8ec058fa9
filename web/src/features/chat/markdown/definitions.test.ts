import { expect, test } from "vitest";
import { definitionsOf, hasFootnotes, withDefinitions } from "./definitions";
import { split } from "./split";

const known = definitionsOf(split("See [the Docs].\n\n[the docs]: https://docs.example\n"));

test("a block gets the definitions that it uses", () => {
  expect(withDefinitions("See [the Docs].", known)).toBe(
    "See [the Docs].\n\n[the docs]: https://docs.example",
  );
});

test("others stay the very same text", () => {
  const block = "See [another page].";
  expect(withDefinitions(block, known)).toBe(block);
  expect(withDefinitions("No links", known)).toBe("No links");
});

test("footnotes are no definitions of links", () => {
  expect(definitionsOf(split("[^1]: A note")).size).toBe(0);
  expect(hasFootnotes("Words[^1]\n\n[^1]: A note")).toBe(true);
  expect(hasFootnotes("a[^1]")).toBe(false);
});

test("footnotes of a part of a text stay to be read", () => {
  expect(withDefinitions("[^1]: A note", known)).toBe("\\[^1]: A note");
  expect(withDefinitions("Words[^1]", known)).toBe("Words[^1]");
});
