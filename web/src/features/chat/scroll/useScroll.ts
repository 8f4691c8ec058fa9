import { type RefObject, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import { Follow } from "./follow";
import { keepPlace, placeIn } from "./places";

const QUIET_MS = 700;
const OWN_SCROLLING = ["wheel", "touchstart", "keydown", "pointerdown"] as const;

type Box = RefObject<HTMLDivElement | null>;

/** Keeps the end in view while it grows, until a person scrolls up; comes back to where they were.
 *
 * Returns the refs for the box and for what is in it, whether the end is out of sight, and what
 * goes there. */
export function useScroll(chatId: string | null) {
  const [kept] = useState(() => (chatId === null ? null : placeIn(chatId)));
  const [away, setAway] = useState(false);
  const scrollRef = useRef<HTMLDivElement>(null);
  const contentRef = useRef<HTMLDivElement>(null);
  const follow = useRef<Follow | null>(null);
  const settling = useRef(kept !== null);
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
    const go = () => follow.current?.toPlace(kept);
    return settle(scrollRef.current, contentRef.current, go, () => {
      settling.current = false;
    });
  }, [kept]);
  useKeep(chatId, scrollRef, settling);
  const toEnd = useCallback((how: "smooth" | "instant") => follow.current?.toEnd(how), []);
  return { scrollRef, contentRef, away, toEnd };
}

/** Notes where the person is; at the end nothing is noted, since new words are to be followed. */
function useKeep(chatId: string | null, scroll: Box, settling: RefObject<boolean>): void {
  useEffect(() => {
    const box = scroll.current;
    if (!box || chatId === null) return;
    const keep = () => {
      if (!settling.current) keepPlace(chatId, atEnd(box) ? null : box.scrollTop);
    };
    box.addEventListener("scroll", keep, { passive: true });
    return () => box.removeEventListener("scroll", keep);
  }, [chatId, scroll, settling]);
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
