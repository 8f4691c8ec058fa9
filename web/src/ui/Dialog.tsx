import { type MouseEvent, type ReactNode, useEffect, useId, useRef } from "react";
import { IconButton } from "./Button";
import styles from "./Dialog.module.css";
import { join } from "./join";

interface DialogProps {
  title: string;
  open: boolean;
  onClose: () => void;
  side?: boolean;
  /** It holds what would be lost: a click beside it does not close it. */
  holds?: boolean;
  closeLabel?: string;
  children: ReactNode;
}

/**
 * A modal dialog: the browser's own, which traps the focus, closes on Escape and gives the focus
 * back. With `side` it is a panel at the right edge.
 */
export function Dialog({
  title,
  open,
  onClose,
  side,
  holds = false,
  closeLabel = "Close",
  children,
}: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  useEffect(() => {
    const node = dialog.current;
    if (open && node && !node.open) node.showModal();
  }, [open]);
  if (!open) return null;
  const outside = (event: MouseEvent) => {
    if (event.target === dialog.current && !holds) onClose();
  };
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes it, the click is a second way
    <dialog
      ref={dialog}
      className={join(styles.dialog, side && styles.side)}
      aria-labelledby={titleId}
      onClose={onClose}
      onClick={outside}
    >
      <div className={styles.box}>
        <header className={styles.head}>
          <h2 id={titleId} className={styles.title}>
            {title}
          </h2>
          <IconButton label={closeLabel} icon="close" small tooltip={false} onClick={onClose} />
        </header>
        <div className={styles.body}>{children}</div>
      </div>
    </dialog>
  );
}
