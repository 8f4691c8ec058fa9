/** The time of day for what is told in minutes: one clock for the whole page. */

import { useSyncExternalStore } from "react";

const TICK_MS = 60_000;
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;
let now = new Date();

function tick(): void {
  now = new Date();
  for (const listener of listeners) listener();
}

/** Hidden tabs are put to sleep: back in view, they catch up at once. */
function wake(): void {
  if (!document.hidden) tick();
}

function subscribe(listener: () => void): () => void {
  if (listeners.size === 0) {
    now = new Date();
    timer = setInterval(tick, TICK_MS);
    document.addEventListener("visibilitychange", wake);
  }
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    clearInterval(timer);
    document.removeEventListener("visibilitychange", wake);
  };
}

/** Returns the time as of the last full minute or so; renders again with each. */
export function useNow(): Date {
  return useSyncExternalStore(subscribe, () => now);
}
