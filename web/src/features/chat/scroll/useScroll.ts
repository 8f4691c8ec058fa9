import { type RefObject, useEffect, useRef, useState } from "react";
import { useStickToBottom } from "use-stick-to-bottom";
import { keepPlace, placeIn } from "./places";

const QUIET_MS = 700;
const OWN_SCROLLING = ["wheel", "touchstart", "keydown", "pointerdown"] as const;

type Box = RefObject<HTMLElement | null>;

/** Keeps the end in view while it grows, until a person scrolls up; comes back to where they were. */
export function useScroll(chatId: string | null) {
  const [kept] = useState(() => (chatId === null ? null : placeIn(chatId)));
  const stick = useStickToBottom({ initial: kept === null ? "instant" : false, resize: "instant" });
  const { scrollRef, contentRef, stopScroll, state } = stick;
  const settling = useRef(kept !== null);
  useEffect(() => {
    if (kept === null || !scrollRef.current || !contentRef.current) return;
    const box = scrollRef.current;
    const go = () => {
      stopScroll();
      box.scrollTop = kept;
    };
    return settle(box, contentRef.current, go, () => {
      settling.current = false;
    });
  }, [kept, scrollRef, contentRef, stopScroll]);
  useFollow(scrollRef, () => {
    // The composer grew or shrank: the end stays in view, and that was nobody's scrolling.
    if (state.isAtBottom) state.scrollTop = state.calculatedTargetScrollTop;
  });
  useKeep(chatId, scrollRef, settling);
  return stick;
}

/** Calls `act` whenever the box changes its height. */
function useFollow(scroll: Box, act: () => void): void {
  const latest = useRef(act);
  latest.current = act;
  useEffect(() => {
    if (!scroll.current) return;
    const observer = new ResizeObserver(() => latest.current());
    observer.observe(scroll.current);
    return () => observer.disconnect();
  }, [scroll]);
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
