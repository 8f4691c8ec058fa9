import type { ReactNode } from "react";
import type * as sent from "~/core/api.gen";
import { durationOf } from "~/core/durations";
import styles from "./Operator.module.css";
import { between } from "./times";

interface TableProps {
  title: string;
  /** Said instead of rows when there are none. */
  none: string;
  heads: string[];
  rows: { key: string; cells: ReactNode[] }[];
}

/** A table that scrolls by itself where the screen is narrow. */
export function Table({ title, none, heads, rows }: TableProps) {
  return (
    <section className={styles.block} aria-label={title}>
      <h2>{title}</h2>
      {rows.length === 0 ? (
        <p className={styles.soft}>{none}</p>
      ) : (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keys
        <section className={styles.scroll} aria-label={`${title}, table`} tabIndex={0}>
          <table>
            <thead>
              <tr>
                {heads.map((head) => (
                  <th key={head} scope="col">
                    {head}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map(({ key, cells }) => (
                <tr key={key}>
                  {cells.map((cell, at) => (
                    <td key={heads[at]}>{cell}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
    </section>
  );
}

export function Reasons({ reasons }: { reasons: sent.Reason[] }) {
  const rows = reasons.map(({ agent_id, code, count }) => ({
    key: `${agent_id} ${code}`,
    cells: [<code key="code">{code}</code>, agent_id, count],
  }));
  return (
    <Table
      title="Why answers failed"
      none="None failed."
      heads={["Reason", "Agent", "Answers"]}
      rows={rows}
    />
  );
}

export function Workers({ workers }: { workers: sent.Load[] }) {
  const rows = workers.map(({ worker_id, running, oldest_started_at, lease_until }) => ({
    key: worker_id,
    cells: [
      <code key="id">{worker_id}</code>,
      running,
      durationOf(between(oldest_started_at, null) ?? 0),
      lease_until && Date.parse(lease_until) < Date.now() ? "lapsed" : "in force",
    ],
  }));
  return (
    <Table
      title="Workers"
      none="Nothing is being answered now."
      heads={["Worker", "Answers", "Longest", "Leases"]}
      rows={rows}
    />
  );
}

export function Limits({ limits }: { limits: sent.Bound[] }) {
  const rows = limits.map(({ name, value, used }) => ({
    key: name,
    cells: [
      <code key="name">{name}</code>,
      used === null ? "–" : <Share key="used" name={name} value={value} used={used} />,
      value,
    ],
  }));
  return (
    <Table title="Limits" none="There are none." heads={["Limit", "Used", "At most"]} rows={rows} />
  );
}

function Share({ name, value, used }: { name: string; value: number; used: number }) {
  return (
    <span className={styles.share}>
      {used}{" "}
      <meter aria-label={`${name}, used`} min={0} max={value} high={0.9 * value} value={used} />
    </span>
  );
}
