import { durationOf } from "~/core/durations";
import type { Span, Trace } from "~/core/types";
import { Icon } from "~/ui/icons";
import { CodeBlock } from "../code/CodeBlock";
import { safeAddress } from "../markdown/address";
import styles from "./Spans.module.css";
import { stepsOf } from "./spans";

/** An agent's own record of an answer: what it did, with what, for how long. */
export function Spans({ trace }: { trace: Trace }) {
  const address = safeAddress(trace.link ?? "");
  return (
    <section aria-label="Steps of the agent">
      <ul className={styles.steps}>
        {stepsOf(trace.spans).map(({ span, depth }) => (
          <li key={span.id} style={{ paddingInlineStart: `${Math.min(depth, 8) * 0.9}rem` }}>
            <Step span={span} />
          </li>
        ))}
      </ul>
      {trace.spans_left_out > 0 && <p>{trace.spans_left_out} more steps are not shown.</p>}
      {address && (
        <a className={styles.link} href={address} target="_blank" rel="noopener noreferrer">
          Open in MLflow <Icon name="external" size={14} />
        </a>
      )}
    </section>
  );
}

function Step({ span }: { span: Span }) {
  const failed = span.status === "ERROR";
  return (
    <details className={styles.step}>
      <summary>
        <span className={styles.name}>{span.name}</span>
        {failed && <span className={styles.failed}>failed</span>}
        <span className={styles.length}>
          {span.duration_ms === null ? "not ended" : durationOf(span.duration_ms / 1000)}
        </span>
      </summary>
      {span.error && <p className={styles.failed}>{span.error}</p>}
      <Content name="Input" json={span.inputs} />
      <Content name="Output" json={span.outputs} />
    </details>
  );
}

function Content({ name, json }: { name: string; json: string | null }) {
  if (json === null) return null;
  return (
    <>
      <p className={styles.label}>{name}</p>
      <CodeBlock code={json} language="json" />
    </>
  );
}
