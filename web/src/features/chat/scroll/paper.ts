/** Paper has everything on it: what is otherwise shown step by step is shown at once. */

import { useSyncExternalStore } from "react";
import { flushSync } from "react-dom";

const listeners = new Set<() => void>();
let printing = false;

function turn(now: boolean): void {
  printing = now;
  // The browser lays the page out for the printer as soon as this is heard.
  flushSync(() => {
    for (const listener of listeners) listener();
  });
}

addEventListener("beforeprint", () => turn(true));
addEventListener("afterprint", () => turn(false));

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Whether the page is being printed. */
export function usePaper(): boolean {
  return useSyncExternalStore(subscribe, () => printing);
}
