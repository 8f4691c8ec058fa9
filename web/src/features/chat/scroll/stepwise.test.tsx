import { act, renderHook } from "@testing-library/react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { step, useFrom } from "./stepwise";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test("the end is shown at once, the rest step by step", () => {
  const { result } = renderHook(() => useFrom(25, 10));
  expect(result.current).toBe(15);
  act(() => vi.advanceTimersByTime(8));
  expect(result.current).toBe(5);
  act(() => vi.advanceTimersByTime(8));
  expect(result.current).toBe(0);
});

test("few are shown whole", () => {
  expect(renderHook(() => useFrom(3, 10)).result.current).toBe(0);
});

test("one step per turn, whoever asks; what is taken back is not done", () => {
  const done: string[] = [];
  step(() => done.push("a"));
  const takeBack = step(() => done.push("b"));
  step(() => done.push("c"));
  vi.advanceTimersByTime(8);
  expect(done).toEqual(["a"]);
  takeBack();
  vi.advanceTimersByTime(8);
  expect(done).toEqual(["a", "c"]);
});
