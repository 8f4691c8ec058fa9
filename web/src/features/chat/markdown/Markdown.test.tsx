import { render } from "@testing-library/react";
import { expect, test, vi } from "vitest";
import { actions } from "~/hooks";
import { Markdown } from "./Markdown";

/** What the parser was given, piece by piece. */
const parsed: string[] = [];

// The real one; it only notes what it is given.
vi.mock(import("react-markdown"), async (original) => {
  const { default: Parser, ...rest } = await original();
  return {
    ...rest,
    default: (props) => {
      parsed.push(props.children ?? "");
      return <Parser {...props} />;
    },
  };
});

const html = (text: string, growing = false) =>
  render(<Markdown text={text} growing={growing} />).container;

test("text becomes elements", () => {
  const page = html("# Title\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n- x\n- [ ] y");
  expect(page.querySelector("h2")?.textContent).toBe("Title");
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

test("pictures of other servers are shown to those who chose so, and only over https", () => {
  actions.setPreferences({ remote_images: true });
  const page = html("![a](https://a.example/a.png) ![b](http://a.example/b.png)");
  actions.setPreferences({ remote_images: false });
  expect(page.querySelectorAll("img")).toHaveLength(1);
  expect(page.querySelector("img")?.getAttribute("referrerpolicy")).toBe("no-referrer");
  expect(page.querySelector("a")?.textContent).toContain("b");
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

test("each piece that comes has the last block parsed again, once, and no other", () => {
  const settled = Array.from({ length: 5 }, (_, n) => `Paragraph ${n}, with **words**.\n\n`).join(
    "",
  );
  const { rerender } = render(<Markdown text={`${settled}The last`} growing />);
  parsed.length = 0;
  let last = "The last";
  for (let n = 0; n < 50; n += 1) {
    last += ` one${n}`;
    rerender(<Markdown text={settled + last} growing />);
    expect(parsed).toEqual([last]);
    parsed.length = 0;
  }
});

test("an answer's first heading comes right below the chat's title, whatever its level", () => {
  const page = html("## First\n\n### Below\n\n# Above");
  expect(page.querySelectorAll("h2")).toHaveLength(2);
  expect(page.querySelector("h3")?.textContent).toBe("Below");
});

test("a block of code with brackets and colons lets settled blocks keep their elements", () => {
  const code = "```python\ndef f(x: list[int]):\n    pass\n```\n\n";
  const { container, rerender } = render(<Markdown text={`${code}[One].\n\nTwo`} growing />);
  const first = container.querySelector("p");
  rerender(<Markdown text={`${code}[One].\n\nTwo and more.`} growing />);
  expect(container.querySelector("p")).toBe(first);
});

test("lists, quotations and tables run in the direction of their own words", () => {
  const page = html("أولا\n\n- one\n\n1. two\n\n> three\n\n| a |\n|---|\n| b |");
  for (const name of ["ul", "ol", "blockquote", "[role=group]"]) {
    expect(page.querySelector(name)?.getAttribute("dir")).toBe("auto");
  }
});

test("marks of footnotes lead there and back, and no two texts share them", () => {
  const noted = "One[^a]\n\n[^a]: A";
  const page = render([<Markdown key="1" text={noted} />, <Markdown key="2" text={noted} />]);
  const links = Array.from(page.container.querySelectorAll("a"));
  expect(links).toHaveLength(4);
  const [there, back] = links.map((link) => link.getAttribute("href")?.slice(1));
  expect(links[0]?.id).toBe(back);
  expect(page.container.querySelector("li")?.id).toBe(there);
  expect(new Set(links.map((link) => link.getAttribute("href"))).size).toBe(4);
  expect(links[1]?.getAttribute("aria-label")).toBe("Back to reference 1");
});

test("a long text with footnotes is formatted, a single long block keeps its lines", () => {
  const long = html(`One[^a]\n\n${`${"**Words** of it. ".repeat(50)}\n\n`.repeat(20)}[^a]: A`);
  expect(long.querySelectorAll("strong")).toHaveLength(1_000);
  const raw = html("a line\n".repeat(3_000));
  expect(raw.querySelector("p")?.className).toContain("raw");
});

test("<br> is a line break, and nothing else of HTML is", () => {
  const page = html(
    "| a |\n|---|\n| one<br>two<BR/>three<br />four<br class=x>five</br> |\n\n`<br>`",
  );
  expect(page.querySelectorAll("td br")).toHaveLength(3);
  expect(page.querySelectorAll("br")).toHaveLength(3);
  expect(page.textContent).toContain("four<br class=x>five</br>");
});

test("a text that was cut off ends as it would have, without its dot", async () => {
  const page = render(<Markdown text="It is **half" cut />).container;
  await vi.waitFor(() => expect(page.querySelector("strong")?.textContent).toBe("half"));
  expect(page.firstElementChild?.className).not.toContain("growing");
});
