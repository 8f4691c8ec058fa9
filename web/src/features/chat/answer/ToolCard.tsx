import { useState } from "react";
import { Icon } from "~/ui/icons";
import { Spinner } from "~/ui/Spinner";
import { CodeBlock } from "../code/CodeBlock";
import type { Part, PartState } from "./parts";
import styles from "./Steps.module.css";
import { gist, pretty } from "./words";

type ToolPart = Extract<Part, { kind: "tool" }>;

const STATES: Record<PartState, string> = {
  running: "Running…",
  done: "Done",
  called: "Called",
  stopped: "Stopped",
};

/** A call of a tool: its name and gist, its state, and on demand arguments and result. */
export function ToolCard({ part }: { part: ToolPart }) {
  const [open, setOpen] = useState(false);
  return (
    <details className={styles.step} open={open} onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary className={styles.head}>
        <Icon name="tool" size={16} />
        <span className={styles.name}>{part.name}</span>
        <span className={styles.gist}>{gist(part.arguments)}</span>
        <State state={part.state} />
        <span className={styles.fold}>
          <Icon name="chevronRight" size={14} />
        </span>
      </summary>
      {open && (
        <div className={styles.body}>
          <Data title="Arguments" text={part.arguments} empty="None." />
          {part.output !== null && <Data title="Result" text={part.output} empty="Empty." />}
        </div>
      )}
    </details>
  );
}

function State({ state }: { state: PartState }) {
  return (
    <span className={styles.state}>
      {state === "running" && <Spinner />}
      {state === "done" && <Icon name="check" size={14} />}
      {STATES[state]}
    </span>
  );
}

function Data({ title, text, empty }: { title: string; text: string; empty: string }) {
  const shown = pretty(text);
  return (
    <div className={styles.data}>
      <p className={styles.title}>{title}</p>
      {text.trim() === "" || text.trim() === "{}" ? (
        <p>{empty}</p>
      ) : (
        <CodeBlock code={shown.text} language={shown.json ? "json" : ""} />
      )}
    </div>
  );
}
