import { act, renderHook } from "@testing-library/react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Pace } from "./pace";
import { step, useRange } from "./stepwise";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test("the end is shown at once, the rest step by step", () => {
  const { result } = renderHook(() => useRange(25, new Pace(10)));
  expect(result.current).toEqual({ from: 15, to: 25 });
  act(() => vi.advanceTimersByTime(20));
  expect(result.current.from).toBe(5);
  act(() => vi.advanceTimersByTime(20));
  expect(result.current.from).toBe(0);
});

test("what is above the floor is shown when the floor is lowered", () => {
  const pace = new Pace(10);
  const { result, rerender } = renderHook(({ floor }) => useRange(100, pace, floor), {
    initialProps: { floor: 80 },
  });
  act(() => vi.advanceTimersByTime(60));
  expect(result.current.from).toBe(80);
  rerender({ floor: 60 });
  act(() => vi.advanceTimersByTime(20));
  expect(result.current.from).toBe(60);
});

test("few are shown whole", () => {
  expect(renderHook(() => useRange(3, new Pace(10))).result.current).toEqual({ from: 0, to: 3 });
});

test("many that come at once are shown step by step, one at a time at once", () => {
  const pace = new Pace(10);
  const { result, rerender } = renderHook(({ count }) => useRange(count, pace), {
    initialProps: { count: 1 },
  });
  rerender({ count: 2 });
  expect(result.current.to).toBe(2);
  rerender({ count: 30 });
  expect(result.current.to).toBe(3);
  act(() => vi.advanceTimersByTime(20));
  expect(result.current.to).toBe(14);
  act(() => vi.advanceTimersByTime(20));
  expect(result.current.to).toBe(30);
});

test("one step per turn, whoever asks; what is taken back is not done", () => {
  const done: string[] = [];
  step(() => done.push("a"));
  const takeBack = step(() => done.push("b"));
  step(() => done.push("c"));
  vi.advanceTimersByTime(20);
  expect(done).toEqual(["a"]);
  takeBack();
  vi.advanceTimersByTime(20);
  expect(done).toEqual(["a", "c"]);
});
