import { render } from "@testing-library/react";
import { expect, test } from "vitest";
import { Markdown } from "./Markdown";

const html = (text: string, growing = false) =>
  render(<Markdown text={text} growing={growing} />).container;

test("text becomes elements", () => {
  const page = html("# Title\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n- x\n- [ ] y");
  expect(page.querySelector("h1")?.textContent).toBe("Title");
  expect(page.querySelectorAll("td")).toHaveLength(2);
  expect(page.querySelectorAll("li")).toHaveLength(2);
});

test("HTML of a model stays text", () => {
  const page = html('<img src=x onerror="alert(1)">\n\n<script>alert(1)</script>\n\na <b>b</b>');
  expect(page.querySelector("img, script, b")).toBeNull();
  expect(page.textContent).toContain("<script>");
});

test("links are safe, others are only words", () => {
  const page = html("[a](https://a.example) [b](javascript:alert(1)) [c](/api/me)");
  const links = page.querySelectorAll("a");
  expect(links).toHaveLength(1);
  expect(links[0]?.rel).toContain("noopener");
  expect(links[0]?.rel).toContain("noreferrer");
  expect(page.textContent).toContain("b c");
});

test("no picture is fetched", () => {
  const page = html("![a cat](https://a.example/cat.png)");
  expect(page.querySelector("img")).toBeNull();
  expect(page.querySelector("a")?.textContent).toContain("a cat");
});

test("definitions count over blocks, footnotes are numbered over the whole", () => {
  expect(html("See [docs].\n\n[docs]: https://a.example").querySelector("a")?.href).toBe(
    "https://a.example/",
  );
  expect(html("One[^a]\n\ntwo[^b]\n\n[^a]: A\n[^b]: B").querySelectorAll("sup")).toHaveLength(2);
});

test("settled blocks keep their elements while the text grows", () => {
  const { container, rerender } = render(<Markdown text={"One.\n\nTwo."} growing />);
  const first = container.querySelector("p");
  rerender(<Markdown text={"One.\n\nTwo and more.\n\nThree"} growing />);
  expect(container.querySelector("p")).toBe(first);
  expect(container.querySelectorAll("p")).toHaveLength(3);
});
