/**
 * Shows much in small steps: the end at once, what is above it a few pieces per frame.
 *
 * All lists of the page take turns, so that a frame never has more than one step to do.
 */

import { useEffect, useRef, useState } from "react";
import { flushSync } from "react-dom";
import type { Pace } from "./pace";
import { usePaper } from "./paper";

const PAUSE_MS = 16;
const waiting: (() => void)[] = [];
let scheduled = false;

function next(): void {
  waiting.shift()?.();
  scheduled = waiting.length > 0;
  if (scheduled) later(next);
}

function later(act: () => void): void {
  // After the next frame, so that the place in the log is kept before more comes in above it.
  if (document.hidden) setTimeout(act, PAUSE_MS);
  else requestAnimationFrame(() => setTimeout(act));
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

/** Shows so many pieces more, at once, and notes what that costs. */
function measure(pace: Pace, pieces: number, show: () => void): void {
  const begun = performance.now();
  flushSync(show);
  pace.measured(pieces, performance.now() - begun);
}

/**
 * Returns which of `count` pieces are shown: the last ones at once, those above them step by step,
 * down to the one at `floor`. When many come at once later on, they are shown step by step as well,
 * in their order. On paper there are all of them.
 */
export function useRange(count: number, pace: Pace, floor = 0): { from: number; to: number } {
  const first = useRef(pace.pieces).current;
  const [from, setFrom] = useState(() => Math.max(0, count - first));
  const [shown, setShown] = useState(count);
  // One more than before is no crowd: a block has ended and another one begins.
  const to = Math.min(count, shown + 1);
  useEffect(() => {
    if (to >= count) {
      setShown(count);
      return;
    }
    return step(() => {
      const size = Math.min(pace.pieces, count - to);
      measure(pace, size, () => setShown(to + size));
    });
  }, [to, count, pace]);
  useEffect(() => {
    if (from <= floor) return;
    return step(() => {
      const size = Math.min(pace.pieces, from - floor);
      measure(pace, size, () => setFrom(from - size));
    });
  }, [from, floor, pace]);
  if (usePaper()) return { from: 0, to: count };
  return { from: Math.min(from, Math.max(0, count - 1)), to };
}
