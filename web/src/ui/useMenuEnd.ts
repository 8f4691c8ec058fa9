import { type RefObject, useEffect, useRef } from "react";

/** Calls `leave` when the person goes on elsewhere: a press beside, a scroll, another size. */
export function useMenuEnd(
  box: RefObject<HTMLElement | null>,
  trigger: RefObject<HTMLElement | null>,
  leave: () => void,
): void {
  const latest = useRef(leave);
  latest.current = leave;
  useEffect(() => {
    const off = new AbortController();
    const within = (node: EventTarget | null) =>
      node instanceof Node &&
      (box.current?.contains(node) || trigger.current?.contains(node) === true);
    const on = (target: EventTarget, kind: string, ends: (event: Event) => boolean) =>
      target.addEventListener(kind, (event) => ends(event) && latest.current(), {
        signal: off.signal,
        capture: true,
      });
    on(document, "pointerdown", ({ target }) => !within(target));
    // What moves its button away from it.
    on(document, "scroll", ({ target }) => {
      return target instanceof Node && !within(target) && target.contains(trigger.current);
    });
    on(window, "resize", () => true);
    return () => off.abort();
  }, [box, trigger]);
}
