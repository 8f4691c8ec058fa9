import { useState } from "react";
import { problemText } from "~/core/api";
import type * as sent from "~/core/api.gen";
import { durationOf } from "~/core/durations";
import { Segmented } from "~/ui/Segmented";
import styles from "./Operator.module.css";
import { Plots } from "./Plots";
import { Requests } from "./Requests";
import { Limits, Reasons, Workers } from "./Tables";
import { useOverview } from "./watching";

const SPANS = [
  { value: "1", label: "1 hour" },
  { value: "6", label: "6 hours" },
  { value: "24", label: "1 day" },
] as const;
type Span = (typeof SPANS)[number]["value"];

/** A minute without a worker means that none is there to take it. */
const LATE_S = 60;

/** How the deployment stands, for those who look after it. */
export default function Operator() {
  const [hours, look] = useState<Span>("1");
  const { overview, problem } = useOverview(Number(hours));
  return (
    <div className={styles.page}>
      <header className={styles.head}>
        <h1>Operator page</h1>
        {overview && <span className={styles.soft}>version {overview.version}</span>}
        <Segmented label="Look back" value={hours} options={SPANS} onChange={look} />
      </header>
      {problem && (
        <p role="alert" className={styles.problem}>
          {problemText(problem)}
        </p>
      )}
      {overview && (
        <>
          <Now {...overview} />
          <Plots {...overview.course} />
          <div className={styles.columns}>
            <Reasons reasons={overview.reasons} />
            <Workers workers={overview.workers} />
            <Limits limits={overview.limits} />
          </div>
          <Requests />
        </>
      )}
    </div>
  );
}

/** What waits and runs now, and what is wrong with it in words. */
function Now({ now, parts }: sent.Overview) {
  const troubles = parts.flatMap((part) => (part.why ? [`The ${part.name}: ${part.why}`] : []));
  if (now.unclaimed_age_s > LATE_S) troubles.push("Requests that may run find no worker.");
  return (
    <section aria-label="Now">
      <dl className={styles.tiles}>
        <Tile name="Being answered" value={now.streaming} />
        <Tile name="Waiting" value={now.waiting} age_s={now.waiting_age_s} />
        <Tile name="Without a worker" value={now.unclaimed} age_s={now.unclaimed_age_s} />
        <Tile name="Webhooks to deliver" value={now.webhooks} age_s={now.webhook_age_s} />
      </dl>
      {troubles.map((trouble) => (
        <p key={trouble} role="status" className={styles.problem}>
          {trouble}
        </p>
      ))}
    </section>
  );
}

function Tile({ name, value, age_s = 0 }: { name: string; value: number; age_s?: number }) {
  return (
    <div className={styles.tile}>
      <dt>{name}</dt>
      <dd>
        {value}
        {value > 0 && age_s > 0 && <small>oldest {durationOf(age_s)}</small>}
      </dd>
    </div>
  );
}
