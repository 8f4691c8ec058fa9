import { fireEvent, render } from "@testing-library/react";
import { expect, test } from "vitest";
import { Bubble } from "./Bubble";

const button = (text: string) => render(<Bubble text={text} />).container.querySelector("button");

test("a question is shown whole, a pasted text is folded until one wants it", () => {
  expect(button("What is a lease?\n".repeat(19))).toBeNull();
  const fold = button("line\n".repeat(30));
  expect(fold?.getAttribute("aria-expanded")).toBe("false");
  fireEvent.click(fold as HTMLElement);
  expect(fold?.textContent).toBe("Show less");
  expect(button("x".repeat(2_000))).not.toBeNull();
});
