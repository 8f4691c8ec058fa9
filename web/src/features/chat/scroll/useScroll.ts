import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import { Follow } from "./follow";
import { keepPlace, type Place } from "./places";

const QUIET_MS = 700;
const OWN_SCROLLING = ["wheel", "touchstart", "keydown", "pointerdown"] as const;

/** Keeps the end in view while it grows, until a person scrolls up; comes back to where they were.
 *
 * Returns the refs for the box and for what is in it, whether the end is out of sight, what goes
 * there, and whether the place has been found again. */
export function useScroll(kept: Place | null) {
  const [away, setAway] = useState(false);
  const scrollRef = useRef<HTMLDivElement>(null);
  const contentRef = useRef<HTMLDivElement>(null);
  const follow = useRef<Follow | null>(null);
  const settled = useRef(kept === null);
  useLayoutEffect(() => {
    const [box, content] = [scrollRef.current, contentRef.current];
    if (!box || !content) return;
    const following = new Follow(box, kept === null, setAway);
    follow.current = following;
    following.resized();
    return following.listen(content);
  }, [kept]);
  useEffect(() => {
    if (kept === null || !scrollRef.current || !contentRef.current) return;
    const go = () => follow.current?.toPlace(kept.top);
    return settle(scrollRef.current, contentRef.current, go, () => {
      settled.current = true;
    });
  }, [kept]);
  const toEnd = useCallback((how: "smooth" | "instant") => follow.current?.toEnd(how), []);
  return { scrollRef, contentRef, away, toEnd, settled };
}

/** Notes where the person is; at the end nothing is noted, since new words are to be followed. */
export function useKeep(
  chatId: string | null,
  floor: number,
  { scrollRef, settled }: Pick<ReturnType<typeof useScroll>, "scrollRef" | "settled">,
): void {
  useEffect(() => {
    const box = scrollRef.current;
    if (!box || chatId === null) return;
    const keep = () => {
      if (settled.current) keepPlace(chatId, atEnd(box) ? null : { top: box.scrollTop, floor });
    };
    box.addEventListener("scroll", keep, { passive: true });
    return () => box.removeEventListener("scroll", keep);
  }, [chatId, floor, scrollRef, settled]);
}

function atEnd(box: HTMLElement): boolean {
  return box.scrollHeight - box.scrollTop - box.clientHeight < 40;
}

/** Calls `go` while the content still comes, until it is quiet or the person scrolls on their own. */
function settle(box: HTMLElement, content: HTMLElement, go: () => void, done: () => void) {
  let timer = setTimeout(end, QUIET_MS);
  const observer = new ResizeObserver(() => {
    clearTimeout(timer);
    timer = setTimeout(end, QUIET_MS);
    go();
  });
  function end() {
    clearTimeout(timer);
    observer.disconnect();
    for (const kind of OWN_SCROLLING) box.removeEventListener(kind, end);
    done();
  }
  for (const kind of OWN_SCROLLING) box.addEventListener(kind, end, { passive: true });
  observer.observe(content);
  return end;
}
