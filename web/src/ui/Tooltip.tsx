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
  let shown = false;
  let hidden_at = Number.NEGATIVE_INFINITY;
  // A control that was pressed, or that took its place, stays under the pointer: it needs no name.
  let pointed: HTMLElement | null = null;
  let pressed = "";
  const hide = () => {
    clearTimeout(timer);
    if (shown) hidden_at = performance.now();
    shown = false;
    show(null);
  };
  const name = (control: HTMLElement | null, delay_ms: number) => {
    hide();
    if (!control) return;
    timer = setTimeout(() => {
      shown = control.isConnected;
      show(shown ? control : null);
    }, delay_ms);
  };
  const on = (kind: string, hear: (event: Event) => void) =>
    document.addEventListener(kind, hear, { signal: off.signal, passive: true });
  on("pointerover", (event) => {
    const control = named(event.target);
    if ((event as PointerEvent).pointerType === "touch" || control === pointed) return;
    pointed = control;
    if (pressed === placeOf(event as PointerEvent)) return;
    name(control, performance.now() - hidden_at < AGAIN_MS ? 0 : DELAY_MS);
  });
  on("focusin", ({ target }) => {
    const control = named(target);
    if (control?.matches(":focus-visible")) name(control, 0);
  });
  on("pointerdown", (event) => {
    pressed = placeOf(event as PointerEvent);
  });
  for (const kind of ["focusout", "pointerdown", "keydown"]) on(kind, hide);
  return () => off.abort();
}

function placeOf({ screenX, screenY }: PointerEvent): string {
  return `${screenX} ${screenY}`;
}

function named(target: EventTarget | null): HTMLElement | null {
  return target instanceof Element ? target.closest<HTMLElement>("[data-tooltip]") : null;
}
