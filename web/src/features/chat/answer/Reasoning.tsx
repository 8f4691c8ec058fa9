import { useState } from "react";
import { durationOf } from "~/core/durations";
import { Icon } from "~/ui/icons";
import { join } from "~/ui/join";
import { Spinner } from "~/ui/Spinner";
import { Markdown } from "../markdown/Markdown";
import type { Part } from "./parts";
import styles from "./Steps.module.css";

type ReasoningPart = Extract<Part, { kind: "reasoning" }>;

/** The model's reasoning: folded, with how long it took. */
export function Reasoning({ part }: { part: ReasoningPart }) {
  const [open, setOpen] = useState(false);
  const running = part.state === "running";
  return (
    <details className={styles.step} open={open} onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary className={styles.head}>
        {running ? <Spinner /> : <Icon name="thought" size={16} />}
        <span className={styles.name}>{titleOf(part)}</span>
        <span className={styles.fold}>
          <Icon name="chevronRight" size={14} />
        </span>
      </summary>
      {open && (
        <div className={join(styles.body, styles.thoughts)}>
          <Markdown text={part.text} growing={running} />
        </div>
      )}
    </details>
  );
}

function titleOf({ state, seconds }: ReasoningPart): string {
  if (state === "running") return "Thinking…";
  const took = seconds === null ? "" : ` for ${seconds < 1 ? "a moment" : durationOf(seconds)}`;
  return state === "stopped" ? `Thought${took}, then stopped` : `Thought${took}`;
}
