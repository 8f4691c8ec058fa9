import { type KeyboardEvent, useEffect, useRef, useState } from "react";
import { Button } from "~/ui/Button";
import { isComposing } from "~/ui/composing";
import { TextArea } from "~/ui/TextArea";
import styles from "./Question.module.css";

interface EditorProps {
  label: string;
  text: string;
  send: string;
  hint?: string;
  onSend: (text: string) => void;
  onCancel: () => void;
}

/** Edits a question in its place; Escape leaves it as it was. */
export function Editor({ label, text, send, hint, onSend, onCancel }: EditorProps) {
  const [draft, setDraft] = useState(text);
  const field = useRef<HTMLTextAreaElement>(null);
  const empty = draft.trim() === "";
  useEffect(() => {
    field.current?.focus();
    field.current?.setSelectionRange(text.length, text.length);
  }, [text.length]);
  const onKeyDown = (event: KeyboardEvent) => {
    if (isComposing(event.nativeEvent)) return;
    if (event.key === "Escape") {
      event.preventDefault();
      onCancel();
    } else if (event.key === "Enter" && (event.metaKey || event.ctrlKey) && !empty) {
      event.preventDefault();
      onSend(draft.trim());
    }
  };
  return (
    <div className={styles.editor}>
      <TextArea
        bare
        ref={field}
        label={label}
        value={draft}
        onChange={setDraft}
        onKeyDown={onKeyDown}
      />
      <div className={styles.buttons}>
        {hint && <span className={styles.hint}>{hint}</span>}
        <Button onClick={onCancel}>Cancel</Button>
        <Button tone="primary" disabled={empty} onClick={() => onSend(draft.trim())}>
          {send}
        </Button>
      </div>
    </div>
  );
}
