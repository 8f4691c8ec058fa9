import { act, render } from "@testing-library/react";
import { afterEach, expect, test, vi } from "vitest";
import type { Chat } from "~/core/types";
import { Slot } from "./Slot";

const ASKED = new Date("2026-03-01T12:00:00Z");

afterEach(() => void vi.useRealTimers());

function shown() {
  vi.useFakeTimers({ now: ASKED });
  const chat = { id: "c", queued: 0, unread: false, updated_at: ASKED.toISOString() } as Chat;
  return render(<Slot chat={chat} />).container;
}

test("the time since a question goes on while one looks at it", () => {
  const slot = shown();
  expect(slot.textContent).toBe("now");
  act(() => void vi.advanceTimersByTime(5 * 60_000));
  expect(slot.textContent).toBe("5m");
});

test("a tab that slept shows the time at once when it is back", () => {
  const slot = shown();
  vi.setSystemTime(new Date("2026-03-01T15:00:00Z"));
  act(() => void document.dispatchEvent(new Event("visibilitychange")));
  expect(slot.textContent).toBe("3h");
});
