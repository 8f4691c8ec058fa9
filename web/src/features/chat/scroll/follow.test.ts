import { beforeEach, expect, test, vi } from "vitest";
import { Follow } from "./follow";

/** A box that measures what it is told. */
class Box extends EventTarget {
  scrollHeight = 1000;
  clientHeight = 400;
  parentElement = null;
  #top = 0;

  get scrollTop(): number {
    return this.#top;
  }
  set scrollTop(top: number) {
    this.#top = Math.max(0, Math.min(top, this.scrollHeight - this.clientHeight));
  }
}

let box: Box;
let away: boolean;
let follow: Follow;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance"] });
  box = new Box();
  follow = new Follow(box as unknown as HTMLElement, true, (told) => {
    away = told;
  });
  follow.listen(document.body);
  follow.resized();
});

function grow(by: number): void {
  box.scrollHeight += by;
  box.scrollTop += 0; // as browsers do when it shrank
  follow.resized();
}

function wheel(by: number): void {
  box.dispatchEvent(new WheelEvent("wheel", { deltaY: by }));
  box.scrollTop += by;
  follow.scrolled();
}

function key(name: string): void {
  box.dispatchEvent(new KeyboardEvent("keydown", { key: name }));
}

test("what grows is followed", () => {
  grow(500);
  expect(box.scrollTop).toBe(1100);
  expect(away).toBe(false);
});

test("the first turn of the wheel upwards lets go, the way back takes hold again", () => {
  wheel(-100);
  grow(500);
  expect(box.scrollTop).toBe(500);
  expect(away).toBe(true);
  wheel(600);
  grow(500);
  expect(box.scrollTop).toBe(1600);
  expect(away).toBe(false);
});

test("a key lets go before anything has moved", () => {
  key("PageUp");
  grow(500);
  expect(box.scrollTop).toBe(600);
  expect(away).toBe(true);
});

test("content that shrinks takes nobody back to the end for good", () => {
  wheel(-300);
  vi.advanceTimersByTime(1_000);
  box.scrollHeight = 500;
  box.scrollTop += 0;
  follow.scrolled();
  follow.resized();
  expect(away).toBe(false);
  grow(2_000);
  expect(box.scrollTop).toBe(100);
  expect(away).toBe(true);
});

test("what the browser moves because something above has changed is nobody's scrolling", () => {
  vi.advanceTimersByTime(1_000);
  box.scrollHeight = 900;
  box.scrollTop -= 200;
  follow.scrolled();
  grow(300);
  expect(box.scrollTop).toBe(800);
});

test("a jump that no wheel or key explains, a search in the page, is a person's", () => {
  vi.advanceTimersByTime(1_000);
  box.scrollTop = 200;
  follow.scrolled();
  grow(300);
  expect(box.scrollTop).toBe(200);
});

test("nothing moves while a person holds the page, and what was followed is followed on", () => {
  box.dispatchEvent(new Event("pointerdown"));
  grow(500);
  expect(box.scrollTop).toBe(600);
  window.dispatchEvent(new Event("pointerup"));
  expect(box.scrollTop).toBe(1100);
});

test("a place is kept, the end is followed again on demand", () => {
  follow.toPlace(100);
  grow(500);
  expect(box.scrollTop).toBe(100);
  follow.toEnd("instant");
  expect(away).toBe(false);
  grow(500);
  expect(box.scrollTop).toBe(1600);
});

test("who begins to edit something above keeps it in view while it takes its place", () => {
  const event = new FocusEvent("focusin");
  Object.defineProperty(event, "target", { value: document.createElement("textarea") });
  box.dispatchEvent(event);
  grow(60);
  expect(box.scrollTop).toBe(600);
});
