import { act, render } from "@testing-library/react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Tooltips } from "./Tooltip";

vi.mock(import("./beside"), () => ({ showBeside: () => {} })); // it needs a layout

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const shown = () => document.querySelector("[popover]")?.textContent ?? null;

test("a control is named when the pointer comes to it, not when it comes under a pointer that pressed", () => {
  render(
    <>
      <button type="button" data-tooltip="Send" />
      <button type="button" data-tooltip="Stop" />
      <Tooltips />
    </>,
  );
  const [send, stop] = document.querySelectorAll("button");
  const point = (kind: string, on: Element | undefined, screenX: number) =>
    act(() => {
      on?.dispatchEvent(new PointerEvent(kind, { bubbles: true, screenX, screenY: 5 }));
      vi.advanceTimersByTime(600);
    });
  point("pointerover", send, 5);
  expect(shown()).toBe("Send");
  point("pointerdown", send, 5);
  expect(shown()).toBeNull();
  point("pointerover", stop, 5); // it took the place of the other one
  expect(shown()).toBeNull();
  point("pointerover", document.body, 90);
  point("pointerover", stop, 7);
  expect(shown()).toBe("Stop");
});
