import type * as sent from "~/core/api.gen";
import { durationOf } from "~/core/durations";
import styles from "./Operator.module.css";
import { Plot } from "./Plot";
import { clock } from "./times";

/** What happened since then: questions and answers, and what went wrong. */
export function Plots({ since, step_s, asked, completed, failed, cancelled }: sent.Course) {
  const begun = Date.parse(since);
  const span = { from: clock(new Date(begun)), to: clock(new Date(begun + step_s * 60_000)) };
  return (
    <section className={styles.plots} aria-label="What happened">
      <Plot
        title="Questions and answers"
        unit={`in ${durationOf(step_s)}`}
        lines={[
          { name: "asked", tone: "soft", values: asked },
          { name: "completed", tone: "accent", values: completed },
        ]}
        {...span}
      />
      <Plot
        title="What did not complete"
        unit={`in ${durationOf(step_s)}`}
        lines={[
          { name: "failed", tone: "danger", values: failed },
          { name: "stopped", tone: "soft", values: cancelled },
        ]}
        {...span}
      />
    </section>
  );
}
