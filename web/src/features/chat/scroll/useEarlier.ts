import { type RefObject, useCallback, useEffect, useRef, useState } from "react";
import { Pace } from "./pace";
import type { Place } from "./places";
import { useRange } from "./stepwise";

/** Chats of so many messages are shown whole. */
const WHOLE_MAX = 80;
const PAGE = 40;
/** Earlier ones are shown before a person has come to them. */
const AHEAD = "1200px 0px 0px 0px";

const MESSAGES = new Pace(3);

/**
 * Returns which of a chat's messages are shown, `from` … `to`. Of a long chat these are the latest;
 * more are shown when one comes near the `mark` above them, or calls `earlier`; all, step by step,
 * when one searches the page.
 */
export function useEarlier(
  count: number,
  box: RefObject<HTMLElement | null>,
  kept: Place | null,
): { from: number; to: number; floor: number; mark: RefObject<HTMLDivElement | null> } & {
  earlier: () => void;
} {
  const [floor, setFloor] = useState(
    () => kept?.floor ?? (count > WHOLE_MAX ? Math.max(0, count - PAGE) : 0),
  );
  const { from, to } = useRange(count, MESSAGES, floor);
  const mark = useRef<HTMLDivElement>(null);
  const earlier = useCallback(() => {
    // At the very top browsers do not keep what is in view in its place.
    if (box.current && box.current.scrollTop < 1) box.current.scrollTop = 1;
    setFloor((before) => Math.max(0, before - PAGE));
  }, [box]);
  useFinding(useCallback(() => setFloor(0), []));
  useEffect(() => {
    if (from > floor || !mark.current) return;
    const observer = new IntersectionObserver(
      (seen) => {
        if (seen.some((one) => one.isIntersecting)) earlier();
      },
      { root: box.current, rootMargin: AHEAD },
    );
    observer.observe(mark.current);
    return () => observer.disconnect();
  }, [from, floor, box, earlier]);
  return { from, to, floor, mark, earlier };
}

/** Calls `act` when the browser is about to search the page: it finds only what is shown. */
function useFinding(act: () => void): void {
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === "f") act();
    };
    addEventListener("keydown", listen);
    return () => removeEventListener("keydown", listen);
  }, [act]);
}
