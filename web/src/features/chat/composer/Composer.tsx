import { type KeyboardEvent, type ReactNode, type RefObject, useCallback } from "react";
import { useConfig, usePreferences } from "~/hooks";
import { isComposing } from "~/ui/composing";
import { join } from "~/ui/join";
import styles from "./Composer.module.css";
import { Slot } from "./Slot";
import { excess, meaningOf, slotOf } from "./sending";

export interface ComposerProps {
  field: RefObject<HTMLTextAreaElement | null>;
  placeholder: string;
  text: string;
  busy: boolean;
  onText: (text: string) => void;
  onSend: (content: string, now: boolean) => void;
  onStop: () => void;
  /** What stands at the left below the text, e.g. the choice of an agent. */
  children?: ReactNode;
}

/** Where a person writes. The focus stays here after sending and after stopping. */
export function Composer(props: ComposerProps) {
  const { field, placeholder, text, busy, onText, onSend, onStop, children } = props;
  const { enter_sends } = usePreferences();
  const over = excess(text, useConfig()?.limits.message_bytes_max ?? Number.POSITIVE_INFINITY);
  const send = useCallback(
    (now: boolean) => {
      const content = text.trim();
      if (content && over === 0) onSend(content, now);
      field.current?.focus();
    },
    [text, over, onSend, field],
  );
  const stop = () => {
    onStop();
    field.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    const composing = isComposing(event.nativeEvent);
    const { key, shiftKey, altKey, ctrlKey, metaKey } = event;
    const stroke = { key, shiftKey, altKey, ctrlKey, metaKey, composing };
    const meaning = meaningOf(stroke, enter_sends && !isTouch());
    if (!meaning) return;
    event.preventDefault();
    send(meaning === "now");
  };
  return (
    <div className={join(styles.box, !children && styles.single)}>
      <textarea
        ref={field}
        data-composer=""
        className={styles.text}
        dir="auto"
        aria-label="Message"
        placeholder={placeholder}
        rows={1}
        value={text}
        aria-invalid={over > 0}
        aria-describedby={over > 0 ? "composer-over" : undefined}
        onChange={(event) => onText(event.target.value)}
        onKeyDown={onKeyDown}
      />
      {over > 0 && (
        <p id="composer-over" role="alert" className={styles.over}>
          This is {over.toLocaleString()} bytes longer than the server takes.
        </p>
      )}
      <div className={styles.row}>
        {children}
        <Slot
          slot={slotOf(text, busy)}
          enabled={text.trim() !== "" && over === 0}
          onSend={send}
          onStop={stop}
        />
      </div>
    </div>
  );
}

/** Says whether the keyboard is one on the screen, whose Enter breaks lines. */
function isTouch(): boolean {
  return matchMedia("(hover: none) and (pointer: coarse)").matches;
}
