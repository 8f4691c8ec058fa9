import { expect, test } from "vitest";
import { withMath } from "./math";

test("every way models write math becomes one", () => {
  expect(withMath("Let \\(x^2\\) be")).toBe("Let $$x^2$$ be");
  expect(withMath("Let $x^2$ be")).toBe("Let $$x^2$$ be");
  expect(withMath("\\[ a = b \\]")).toBe("$$\na = b\n$$");
  expect(withMath("$$ a = b $$")).toBe("$$\na = b\n$$");
  expect(withMath("$$\na\n$$")).toBe("$$\na\n$$");
});

test("money is not math", () => {
  expect(withMath("from $5 to $10")).toBeNull();
  expect(withMath("$20, or US$30 each")).toBeNull();
});

test("code keeps its dollars", () => {
  expect(withMath("`echo $HOME$`")).toBeNull();
  expect(withMath("`$a$` and $b$")).toBe("`$a$` and $$b$$");
});

test("plain text costs nothing", () => {
  expect(withMath("no math at all")).toBeNull();
});
