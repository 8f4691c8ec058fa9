/**
 * Shows much in small steps: the end at once, what is above it a few pieces per frame.
 *
 * All lists of the page take turns, so that a frame never has more than one step to do.
 */

import { useEffect, useState } from "react";

const waiting: (() => void)[] = [];
let scheduled = false;

function next(): void {
  waiting.shift()?.();
  scheduled = waiting.length > 0;
  if (scheduled) later(next);
}

function later(act: () => void): void {
  // A timer, since hidden tabs draw no frames; it lets the browser draw in between.
  setTimeout(act, 8);
}

/** Queues one step and returns what takes it back. */
export function step(act: () => void): () => void {
  waiting.push(act);
  if (!scheduled) {
    scheduled = true;
    later(next);
  }
  return () => {
    const place = waiting.indexOf(act);
    if (place >= 0) waiting.splice(place, 1);
  };
}

/**
 * Returns which of `count` pieces are shown: the last ones at once, those above them step by step.
 * When many come at once later on, they are shown step by step as well, in their order.
 */
export function useRange(count: number, size: number): { from: number; to: number } {
  const [from, setFrom] = useState(() => Math.max(0, count - size));
  const [shown, setShown] = useState(count);
  const to = Math.min(count, shown + size);
  useEffect(() => {
    if (to < count) return step(() => setShown(to));
    setShown(to);
    return;
  }, [to, shown, count]);
  useEffect(() => {
    if (from === 0) return;
    return step(() => setFrom(Math.max(0, from - size)));
  }, [from, size]);
  return { from: Math.min(from, Math.max(0, count - 1)), to };
}
