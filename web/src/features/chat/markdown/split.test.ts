import { describe, expect, test } from "vitest";
import { type Block, Splitter, split } from "./split";

const texts = (blocks: readonly Block[]) => blocks.map((block) => block.text);

describe("split", () => {
  test("cuts at blank lines and before headings", () => {
    expect(texts(split("One\ntwo\n\nThree\n# Four\nfive"))).toEqual([
      "One\ntwo",
      "Three",
      "# Four\nfive",
    ]);
  });

  test("keeps a list whole over blank lines, nested paragraphs and nested fences", () => {
    const list = "- a\n\n  more\n- b\n\n  ```py\n  x\n\n  y\n  ```\n\n- c";
    expect(texts(split(`${list}\n\nEnd`))).toEqual([list, "End"]);
  });

  test("begins a new list when the marker changes", () => {
    expect(texts(split("- a\n\n1. b"))).toEqual(["- a", "1. b"]);
  });

  test("cuts a long list at an item, so that its end can be parsed alone", () => {
    const items = Array.from({ length: 300 }, (_, n) => `${n + 1}. an item of some length`);
    const blocks = split(items.join("\n"));
    expect(blocks.length).toBeGreaterThan(3);
    expect(Math.max(...texts(blocks).map((text) => text.length))).toBeLessThan(2100);
    expect(texts(blocks).join("\n")).toBe(items.join("\n"));
    expect(blocks.map((block) => block.kind === "text" && block.goesOn)).toEqual(
      blocks.map((_, n) => n > 0),
    );
  });

  test("makes fences blocks of code, with their language, without their fence", () => {
    expect(split("Look:\n```ts title=x\nlet a\n\n# no\n```\nEnd")).toEqual([
      { kind: "text", text: "Look:", goesOn: false },
      { kind: "code", text: "let a\n\n# no", language: "ts", open: false },
      { kind: "text", text: "End", goesOn: false },
    ]);
  });

  test("a longer fence holds a shorter one", () => {
    expect(split("````md\n```\nx\n```\n````")).toEqual([
      { kind: "code", text: "```\nx\n```", language: "md", open: false },
    ]);
  });

  test("an open fence is code at once; its half-written language is not shown", () => {
    expect(split("```pyth")).toEqual([{ kind: "code", text: "", language: "", open: true }]);
    expect(split("```python\nx = ")).toEqual([
      { kind: "code", text: "x = ", language: "python", open: true },
    ]);
  });

  test("an empty fence is an empty block of code", () => {
    expect(split("```js\n```")).toEqual([{ kind: "code", text: "", language: "js", open: false }]);
  });

  test("display math holds its blank lines", () => {
    expect(texts(split("$$\na\n\nb\n$$\n\nEnd"))).toEqual(["$$\na\n\nb\n$$", "End"]);
    expect(texts(split("\\[\na\n\nb\n\\]\n\nEnd"))).toEqual(["\\[\na\n\nb\n\\]", "End"]);
  });

  test("Windows line ends change nothing", () => {
    expect(split("a\r\n\r\n```js\r\nb\r\n```\r\n")).toHaveLength(2);
  });
});

const SAMPLE = [
  "# Title\n\nSome **words** and `code`.\n\n",
  "- one\n- two\n\n  deeper\n\n",
  "```python\ndef f():\n\n    return 1\n```\n\n",
  "| a | b |\n| - | - |\n| 1 | 2 |\n\n",
  "1. first\n2. second\n\nAfter.\n\n> quote\n> more\n\n    indented\n\n    code\n\n",
  "$$\nx\n\ny\n$$\n\n---\n\n[a]: https://a.example\n",
].join("");

describe("Splitter", () => {
  test("grown by any steps, it ends as if it had seen the whole", () => {
    const whole = split(SAMPLE);
    for (const step of [1, 2, 3, 7, 31]) {
      const splitter = new Splitter();
      for (let end = 0; end < SAMPLE.length; end += step) splitter.update(SAMPLE.slice(0, end));
      expect(splitter.update(SAMPLE)).toEqual(whole);
    }
  });

  test("never changes a block once two others follow it", () => {
    const splitter = new Splitter();
    let before: readonly Block[] = [];
    for (let end = 1; end <= SAMPLE.length; end += 1) {
      const after = splitter.update(SAMPLE.slice(0, end));
      before.slice(0, -2).forEach((block, n) => {
        expect(after[n]).toBe(block);
      });
      before = after;
    }
  });

  test("begins anew with another text", () => {
    const splitter = new Splitter();
    splitter.update("One\n\ntwo\n\nthree");
    expect(texts(splitter.update("Other\n\ntext"))).toEqual(["Other", "text"]);
  });

  test("a step costs what is new: a text ten times as long does not cost ten times as much", () => {
    const cost = (paragraphs: number) => {
      const splitter = new Splitter();
      const text = "Some words in a paragraph of prose.\n\n".repeat(paragraphs);
      splitter.update(text);
      const started = performance.now();
      for (let n = 1; n <= 200; n += 1) splitter.update(`${text}${"more ".repeat(n)}`);
      return performance.now() - started;
    };
    const best = (paragraphs: number) => Math.min(...[1, 2, 3].map(() => cost(paragraphs)));
    cost(100);
    expect(best(5000)).toBeLessThan(10 * best(500) + 250);
  });
});

test("a long table is cut at rows, and each piece repeats the head", () => {
  const rows = Array.from({ length: 900 }, (_, n) => `| row ${n} | a cell of some length |`);
  const text = `Words:\n| a | b |\n| - | - |\n${rows.join("\n")}\n\nThe end.`;
  const blocks = split(text);
  expect(blocks.length).toBeGreaterThan(3);
  for (const { text: piece } of blocks) expect(piece.length).toBeLessThan(8_200);
  const tables = blocks.slice(0, -1).map((block) => block.text.split("\n"));
  expect(tables.slice(1).every(([one, two]) => one === "| a | b |" && two === "| - | - |")).toBe(
    true,
  );
  expect(tables.flat().filter((line) => line.startsWith("| row"))).toEqual(rows);
  expect(blocks.map((block) => block.kind === "text" && block.goesOn)).toEqual([
    false,
    ...tables.slice(1).map(() => true),
    false,
  ]);
});

test("lines with pipes that are no table are not cut", () => {
  expect(split("a | b\n".repeat(3_000))).toHaveLength(1);
  expect(split(`| a | b |\n| - |\n${"| c | d |\n".repeat(3_000)}`)).toHaveLength(1);
});
