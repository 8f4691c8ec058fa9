import { type ReactNode, useEffect, useRef } from "react";
import styles from "./Drawer.module.css";

interface DrawerProps {
  label: string;
  onClose: () => void;
  children: ReactNode;
}

/** A panel over the left edge, closed by Escape or a tap beside it.
 *
 * Not the browser's modal dialog: menus and notices lie outside of it and must work. What it covers
 * is made inert by the page. The focus goes into it, and back where it came from. */
export function Drawer({ label, onClose, children }: DrawerProps) {
  const panel = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    panel.current?.focus();
    return () => {
      // What it covered takes the focus again only after it has stopped being inert.
      requestAnimationFrame(() => before instanceof HTMLElement && before.focus());
    };
  }, []);
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      if (event.key === "Escape" && !event.defaultPrevented && !covered()) onClose();
    };
    addEventListener("keydown", listen);
    return () => removeEventListener("keydown", listen);
  }, [onClose]);
  return (
    <>
      <button
        type="button"
        className={styles.beside}
        aria-label="Close sidebar"
        tabIndex={-1}
        onClick={onClose}
      />
      <div
        ref={panel}
        role="dialog"
        aria-modal="true"
        aria-label={label}
        tabIndex={-1}
        className={styles.drawer}
      >
        {children}
      </div>
    </>
  );
}

/** Whether a dialog lies over it, for which Escape is meant. */
function covered(): boolean {
  return document.querySelector("dialog[open]") !== null;
}
