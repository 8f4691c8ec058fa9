import { expect, test } from "vitest";
import { announcement } from "./StatusRegion";

test("beginning, end and failure are told once", () => {
  expect(announcement(null, "streaming")).toBe("Answering…");
  expect(announcement("streaming", "streaming")).toBeNull();
  expect(announcement("streaming", "completed")).toBe("The answer is complete.");
  expect(announcement("streaming", "failed")).toBe("The answer failed.");
  expect(announcement("queued", "cancelled")).toBe("The answer was stopped.");
});

test("opening a chat whose answer is finished says nothing", () => {
  expect(announcement(null, "completed")).toBeNull();
  expect(announcement("unknown", "failed")).toBeNull();
});
