import { type RefObject, useEffect } from "react";
import { useStickToBottom } from "use-stick-to-bottom";
import { keepPlace, placeIn } from "./places";

const SETTLING_MS = 1500;

/** Keeps the end in view while it grows, until a person scrolls up; comes back to where they were. */
export function useScroll(chatId: string | null) {
  const kept = chatId === null ? null : placeIn(chatId);
  const stick = useStickToBottom({ initial: kept === null ? "instant" : false, resize: "instant" });
  const { scrollRef, contentRef, stopScroll } = stick;
  useEffect(() => {
    if (kept === null) return;
    stopScroll();
    return restore(scrollRef, contentRef, kept);
  }, [kept, scrollRef, contentRef, stopScroll]);
  useEffect(() => {
    const box = scrollRef.current;
    if (!box || chatId === null) return;
    const keep = () => keepPlace(chatId, atEnd(box) ? null : box.scrollTop);
    box.addEventListener("scroll", keep, { passive: true });
    return () => box.removeEventListener("scroll", keep);
  }, [chatId, scrollRef]);
  return stick;
}

function atEnd(box: HTMLElement): boolean {
  return box.scrollHeight - box.scrollTop - box.clientHeight < 40;
}

type Place = RefObject<HTMLElement | null>;

/** Goes back to `top` until the content is there, or the person scrolls on their own. */
function restore(scroll: Place, content: Place, top: number): () => void {
  const box = scroll.current;
  if (!box || !content.current) return () => undefined;
  const go = () => {
    box.scrollTop = top;
  };
  const observer = new ResizeObserver(go);
  observer.observe(content.current);
  const end = () => {
    observer.disconnect();
    clearTimeout(timer);
    for (const kind of ["wheel", "touchstart", "keydown"]) box.removeEventListener(kind, end);
  };
  const timer = setTimeout(end, SETTLING_MS);
  for (const kind of ["wheel", "touchstart", "keydown"]) {
    box.addEventListener(kind, end, { passive: true });
  }
  go();
  return end;
}
