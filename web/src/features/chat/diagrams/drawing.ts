/**
 * Diagrams are drawn elsewhere: in a frame without an origin, a cookie or a network, which is told
 * a text and tells a picture. What comes back is shown as a picture only, in which nothing runs.
 */

import address from "virtual:diagrams";
import { at } from "~/core/root";

export interface Drawing {
  /** An address of the picture itself. */
  picture: string;
  width: number;
  height: number;
}

const PATIENCE_MS = 10_000;
const CHARACTERS_MAX = 20_000;
const PIXELS_MAX = 20_000;
const KEPT_MAX = 50;

interface Told {
  id?: unknown;
  ready?: unknown;
  svg?: unknown;
  width?: unknown;
  height?: unknown;
}

let frame: Promise<HTMLIFrameElement> | null = null;
let last = 0;
const waiting = new Map<number, (told: Told | null) => void>();
const kept = new Map<string, Promise<Drawing | null>>();

/** Draws a text; null = it is no diagram, or it cannot be drawn here. */
export function draw(source: string, dark: boolean): Promise<Drawing | null> {
  if (source.length > CHARACTERS_MAX) return Promise.resolve(null);
  const key = `${dark} ${source}`;
  const known = kept.get(key);
  if (known) return known;
  const drawing = ask(source, dark).then(drawingOf);
  kept.set(key, drawing);
  for (const old of kept.keys()) if (kept.size > KEPT_MAX) kept.delete(old);
  return drawing;
}

async function ask(source: string, dark: boolean): Promise<Told | null> {
  frame ??= started();
  const place = await frame.catch(() => null);
  if (!place) return null;
  last += 1;
  const id = last;
  return new Promise((resolve) => {
    const timer = setTimeout(() => end(null), PATIENCE_MS);
    const end = (told: Told | null) => {
      clearTimeout(timer);
      waiting.delete(id);
      if (told === null) forget(); // it hangs: the next one gets a new frame
      resolve(told);
    };
    waiting.set(id, end);
    place.contentWindow?.postMessage({ id, source, dark }, "*");
  });
}

/** Opens the frame; fails when it cannot be had. */
function started(): Promise<HTMLIFrameElement> {
  const place = document.createElement("iframe");
  place.sandbox.add("allow-scripts");
  place.src = at(address);
  place.title = "Draws diagrams";
  place.tabIndex = -1;
  place.ariaHidden = "true";
  // It needs a size to measure texts in, and nobody needs to see it.
  Object.assign(place.style, {
    position: "fixed",
    left: "-3000px",
    width: "1200px",
    height: "800px",
    border: "0",
    visibility: "hidden",
  });
  const ready = new Promise<HTMLIFrameElement>((resolve, reject) => {
    const timer = setTimeout(reject, PATIENCE_MS);
    addEventListener("message", function hear({ data, source }: MessageEvent<Told>) {
      if (source === null || source !== place.contentWindow) return;
      if (!place.isConnected) removeEventListener("message", hear);
      else if (data.ready) {
        clearTimeout(timer);
        resolve(place);
      } else if (typeof data.id === "number") waiting.get(data.id)?.(data);
    });
  });
  document.body.append(place);
  ready.catch(() => {
    place.remove();
    frame = null;
  });
  return ready;
}

function forget(): void {
  void frame?.then((place) => place.remove());
  frame = null;
}

function drawingOf(told: Told | null): Drawing | null {
  if (!told || typeof told.svg !== "string") return null;
  const [width, height] = [Number(told.width), Number(told.height)];
  if (!(width > 0 && width < PIXELS_MAX && height > 0 && height < PIXELS_MAX)) return null;
  const picture = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(told.svg)}`;
  return { picture, width: Math.ceil(width), height: Math.ceil(height) };
}
