import { useEffect, useRef } from "react";
import type { BranchMessage } from "~/core/types";
import { actions } from "~/hooks";
import { IconButton } from "~/ui/Button";
import styles from "./Branches.module.css";

interface BranchesProps {
  message: BranchMessage;
  /** What the alternatives are called. */
  what: "answer" | "question";
}

/** The version that was asked for by a button here: its own takes the focus, once it is shown. */
let sought: { id: string; step: number } | null = null;

/** Which of several alternatives this is, e.g. ‹ 2/3 ›, and the way to the others. */
export function Branches({ message, what }: BranchesProps) {
  const { siblings, id, chat_id } = message;
  const box = useRef<HTMLFieldSetElement>(null);
  useEffect(() => {
    if (sought?.id !== id || document.activeElement !== document.body) return;
    const ways = Array.from(box.current?.querySelectorAll("button") ?? []);
    if (sought.step > 0) ways.reverse();
    ways.find((way) => !way.disabled)?.focus({ preventScroll: true });
    sought = null;
  }, [id]);
  if (siblings.length < 2) return null;
  const place = siblings.indexOf(id);
  const go = (step: number) => {
    const other = siblings[place + step];
    if (!other) return;
    sought = { id: other, step };
    void actions.selectBranch(chat_id, other);
  };
  return (
    <fieldset ref={box} className={styles.branches}>
      <legend className={styles.legend}>Versions of this {what}</legend>
      <IconButton
        small
        label={`Earlier ${what}`}
        icon="chevronLeft"
        disabled={place <= 0}
        onClick={() => go(-1)}
      />
      <span className={styles.place} role="status">
        <span className={styles.legend}>Version </span>
        {place + 1}/{siblings.length}
      </span>
      <IconButton
        small
        label={`Later ${what}`}
        icon="chevronRight"
        disabled={place >= siblings.length - 1}
        onClick={() => go(1)}
      />
    </fieldset>
  );
}
