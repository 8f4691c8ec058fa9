/** When growing text is shown: once per frame, and for at most half of the page's time. */

const HIDDEN_MS = 100;
const FRAME_MS = 16;
/** However dear it is, text is not kept back for longer. */
const PAUSE_MS_MAX = 250;

let free_at = 0;

/** Calls `act` in one of the next frames: the dearer the last one was, the later. */
export function inFrame(act: () => void): void {
  // Hidden tabs get no frames, but are to know how they stand when they are looked at.
  if (document.hidden) {
    setTimeout(act, HIDDEN_MS);
    return;
  }
  const pause = free_at - performance.now();
  const paint = () => requestAnimationFrame(() => measured(act));
  if (pause > FRAME_MS) setTimeout(paint, pause - FRAME_MS);
  else paint();
}

function measured(act: () => void): void {
  const begun = performance.now();
  act();
  // The next task comes after layout and paint.
  setTimeout(() => {
    const now = performance.now();
    free_at = now + Math.min(now - begun, PAUSE_MS_MAX);
  });
}
