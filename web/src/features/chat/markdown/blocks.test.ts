import { expect, test } from "vitest";
import { Blocks } from "./blocks";

test("the level is that of the first heading, and stays while the text grows", () => {
  const blocks = new Blocks();
  expect(blocks.update("Words", false).level).toBeNull();
  expect(blocks.update("Words\n\n## Tw", false).level).toBe(2);
  expect(blocks.update("Words\n\n## Two\n\n# One", false).level).toBe(2);
  expect(new Blocks().update("Title\n=====\n\n### Three", false).level).toBe(1);
  expect(new Blocks().update("```\n# no\n```", false).level).toBeNull();
});

test("another text is parted anew", () => {
  const blocks = new Blocks();
  blocks.update("# One\n\nWords", false);
  expect(blocks.update("### Three", false).level).toBe(3);
  expect(blocks.update("Nothing", false).level).toBeNull();
});

test("definitions are the same object until there is another one", () => {
  const blocks = new Blocks();
  const code = "```python\ndef f(x: list[int]):\n```\n\n";
  const before = blocks.update(`${code}See [a].`, false).definitions;
  expect(blocks.update(`${code}See [a]. And`, false).definitions).toBe(before);
  const after = blocks.update(`${code}See [a]. And\n\n[a]: https://a.example`, false).definitions;
  expect(after).not.toBe(before);
  expect(after.get("a")).toBe("[a]: https://a.example");
});
