import { useEffect, useLayoutEffect, useRef, useState } from "react";
import { showBeside } from "./beside";
import styles from "./Tooltip.module.css";

const DELAY_MS = 500;
/** Going on from one control to the next, nobody waits again. */
const AGAIN_MS = 300;

/** Shows what a control with `data-tooltip` is called, and its keys, on hover and on focus.
 *
 * One for the whole page. It repeats the control's name: screen readers need not meet it. */
export function Tooltips() {
  const [of, show] = useState<HTMLElement | null>(null);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => watch(show), []);
  useLayoutEffect(() => {
    if (of && box.current) showBeside(box.current, of);
  }, [of]);
  if (!of) return null;
  return (
    <div ref={box} popover="manual" aria-hidden="true" className={styles.tooltip}>
      {of.dataset.tooltip}
      {of.dataset.hint && <span className={styles.hint}>{of.dataset.hint}</span>}
    </div>
  );
}

/** Tells which control to name, until what it returns is called; null = none. */
function watch(show: (of: HTMLElement | null) => void): () => void {
  const off = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let over: HTMLElement | null = null;
  let left_at = Number.NEGATIVE_INFINITY;
  const turnTo = (control: HTMLElement | null, delay_ms: number) => {
    if (control === over) return;
    clearTimeout(timer);
    if (over) left_at = performance.now();
    over = control;
    show(null);
    if (control) timer = setTimeout(() => control.isConnected && show(control), delay_ms);
  };
  const soon = () => (performance.now() - left_at < AGAIN_MS ? 0 : DELAY_MS);
  const on = (kind: string, hear: (event: Event) => void) =>
    document.addEventListener(kind, hear, { signal: off.signal, passive: true });
  on("pointerover", (event) => {
    if ((event as PointerEvent).pointerType !== "touch") turnTo(named(event.target), soon());
  });
  on("focusin", ({ target }) => {
    const control = named(target);
    if (control?.matches(":focus-visible")) turnTo(control, 0);
  });
  for (const kind of ["focusout", "pointerdown", "keydown"]) {
    on(kind, () => turnTo(null, 0));
  }
  return () => off.abort();
}

function named(target: EventTarget | null): HTMLElement | null {
  return target instanceof Element ? target.closest<HTMLElement>("[data-tooltip]") : null;
}
