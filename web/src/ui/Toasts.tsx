import { useEffect, useState } from "react";
import { IconButton } from "./Button";
import { Icon, type IconName } from "./icons";
import { join } from "./join";
import styles from "./Toasts.module.css";

export interface Toast {
  id: string;
  text: string;
  icon?: IconName;
  tone?: "plain" | "danger";
  /** Makes the whole text a button. */
  onOpen?: (() => void) | undefined;
  action?: { label: string; run: () => void } | undefined;
}

interface ToastsProps {
  label: string;
  toasts: readonly Toast[];
  onDismiss: (id: string) => void;
  duration_ms?: number;
}

/** Where notices appear and go by themselves: one polite region that never takes the focus. */
export function Toasts({ label, toasts, onDismiss, duration_ms = 6000 }: ToastsProps) {
  return (
    <section className={styles.region} aria-label={label} aria-live="polite">
      {toasts.map((one) => (
        <Card key={one.id} toast={one} onDismiss={onDismiss} duration_ms={duration_ms} />
      ))}
    </section>
  );
}

type CardProps = { toast: Toast } & Pick<Required<ToastsProps>, "onDismiss" | "duration_ms">;

function Card({ toast, onDismiss, duration_ms }: CardProps) {
  const [held, hold] = useState(false);
  useEffect(() => {
    if (held) return;
    const timer = setTimeout(() => onDismiss(toast.id), duration_ms);
    return () => clearTimeout(timer);
  }, [held, toast.id, onDismiss, duration_ms]);
  const then = (act: () => void) => () => {
    onDismiss(toast.id);
    act();
  };
  return (
    <div
      role="none"
      data-toast=""
      className={join(styles.toast, toast.tone === "danger" && styles.danger)}
      onPointerEnter={() => hold(true)}
      onPointerLeave={() => hold(false)}
      onFocus={() => hold(true)}
      onBlur={() => hold(false)}
    >
      {toast.icon && <Icon name={toast.icon} size={16} />}
      {toast.onOpen ? (
        <button type="button" className={styles.open} onClick={then(toast.onOpen)}>
          {toast.text}
        </button>
      ) : (
        <span className={styles.text}>{toast.text}</span>
      )}
      {toast.action && (
        <button type="button" className={styles.action} onClick={then(toast.action.run)}>
          {toast.action.label}
        </button>
      )}
      <IconButton
        label="Dismiss"
        icon="close"
        small
        tooltip={false}
        onClick={() => onDismiss(toast.id)}
      />
    </div>
  );
}
