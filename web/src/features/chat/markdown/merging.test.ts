import { expect, test } from "vitest";
import { joined, Merging } from "./merging";
import { Splitter, split } from "./split";

const lines = (count: number) => Array.from({ length: count }, (_, n) => `Line ${n}.`).join("\n\n");

test("many small blocks that come together become a few, and no word is lost", () => {
  const blocks = joined(split(lines(1000)));
  expect(blocks.length).toBeLessThan(30);
  expect(blocks.map(({ text }) => text).join("\n\n")).toBe(lines(1000));
});

test("code, and lists that are cut, are joined with nothing", () => {
  const list = Array.from({ length: 300 }, (_, n) => `- an item of some length, ${n}`).join("\n");
  const blocks = split(`One.\n\n\`\`\`\ncode\n\`\`\`\n\nTwo.\n\n${list}`);
  const after = joined(blocks);
  expect(after.filter(({ kind }) => kind === "code")).toHaveLength(1);
  expect(after.filter((block) => block.kind === "text" && block.goesOn)).toEqual(
    blocks.filter((block) => block.kind === "text" && block.goesOn),
  );
});

test("what is settled keeps its identity while more comes", () => {
  const splitter = new Splitter();
  const merging = new Merging();
  const see = (text: string) => {
    const blocks = splitter.update(text);
    return merging.update(blocks, splitter.settled);
  };
  const before = see(lines(300));
  const after = see(`${lines(300)} And more.\n\nAnd more.`);
  const same = before.length - 2; // the last two are not settled yet
  expect(same).toBeGreaterThan(1);
  expect(after.slice(0, same).every((block, n) => block === before[n])).toBe(true);
  expect(see("Another text.").map(({ text }) => text)).toEqual(["Another text."]);
});

test("what was shown by itself is never joined", () => {
  const splitter = new Splitter();
  const merging = new Merging();
  let text = "";
  for (const line of lines(40).split("\n\n")) {
    text += `${line}\n\n`;
    merging.update(splitter.update(text), splitter.settled);
  }
  expect(merging.update(splitter.update(text), splitter.settled)).toHaveLength(40);
});
