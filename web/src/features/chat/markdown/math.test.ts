import { expect, test } from "vitest";
import { withHalfFormula, withMath, withSources } from "./math";

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

test("until they can be set, formulas are shown as their source, without dollars", () => {
  expect(withSources(withMath("Let \\(x^2\\) be\n\n\\[ a = b \\]") ?? "")).toBe(
    "Let `x^2` be\n\n`a = b`",
  );
});

test("a formula that is half there is its source, without dollars", () => {
  expect(withHalfFormula("Let $$x^")).toBe("Let `x^`");
  expect(withHalfFormula("Let $$x^2$")).toBe("Let `x^2`");
  expect(withHalfFormula("So:\n$$\na = b\n\n+ c")).toBe("So:\n`a = b + c`");
  expect(withHalfFormula("So \\[ a")).toBe("So `a`");
  expect(withHalfFormula("So $$")).toBe("So ");
  expect(withHalfFormula("$$a$$ and $$b$$")).toBe("$$a$$ and $$b$$");
  expect(withHalfFormula("`$$` is a sign")).toBe("`$$` is a sign");
});
