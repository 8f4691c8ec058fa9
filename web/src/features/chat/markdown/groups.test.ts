import { expect, test } from "vitest";
import { grouped } from "./groups";
import { Splitter } from "./split";

const paragraphs = (count: number) =>
  Array.from({ length: count }, (_, n) => `Paragraph ${n}.`).join("\n\n");

test("all blocks are in groups, once and in order", () => {
  const blocks = new Splitter().update(paragraphs(30));
  const groups = grouped(blocks, []);
  expect(groups.length).toBeGreaterThan(3);
  expect(groups.flatMap((group) => group.blocks)).toEqual(blocks);
  expect(groups.map(({ start }) => start)).toEqual([0, 8, 16, 24]);
});

test("groups in which nothing changed keep their identity while the text grows", () => {
  const splitter = new Splitter();
  const text = paragraphs(30);
  const before = grouped(splitter.update(text), []);
  const after = grouped(splitter.update(`${text} And more.\n\nAnd more.`), before);
  expect(after.slice(0, 3)).toEqual(before.slice(0, 3));
  for (const n of [0, 1, 2]) expect(after[n]).toBe(before[n]);
  expect(after[3]).not.toBe(before[3]);
});

test("a list that is cut into blocks stays in one group", () => {
  const items = Array.from({ length: 900 }, (_, n) => `${n + 1}. an item of some length`);
  const groups = grouped(new Splitter().update(`One\n\n${items.join("\n")}\n\nEnd`), []);
  expect(groups.every(({ blocks: [first] }) => first?.kind === "text" && !first.goesOn)).toBe(true);
});
