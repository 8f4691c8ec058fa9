import { type ReactNode, useDeferredValue, useState } from "react";
import { problemText } from "~/core/api";
import type * as sent from "~/core/api.gen";
import { durationOf } from "~/core/durations";
import { Button } from "~/ui/Button";
import styles from "./Operator.module.css";
import { Table } from "./Tables";
import { between } from "./times";
import { useDeed, useEveryone, type Wanted } from "./watching";

const STATES = ["queued", "streaming", "completed", "failed", "cancelled"];
const ALIVE = new Set(["queued", "streaming"]);

/** Everybody's requests, with what can be done about each. */
export function Requests() {
  const [wanted, want] = useState<Wanted>({ status: "", user: "" });
  const sought = useDeferredValue(wanted);
  const { requests, problem, more } = useEveryone(sought);
  const stop = useDeed("cancel");
  const again = useDeed("retry");
  const trouble = problem ?? stop.error ?? again.error;
  return (
    <div className={styles.requests}>
      <Filter wanted={wanted} onWant={want} />
      {trouble && (
        <p role="alert" className={styles.problem}>
          {problemText(trouble)}
        </p>
      )}
      <Table
        title="Requests"
        none={requests ? "There are none of this kind." : "Asking …"}
        heads={["Request", "Person", "Agent", "State", "Waited", "Took", "Action"]}
        rows={(requests ?? []).map((request) => ({
          key: request.id,
          cells: cellsOf(request, stop.mutate, again.mutate),
        }))}
      />
      {more && <Button onClick={more}>More</Button>}
    </div>
  );
}

function Filter({ wanted, onWant }: { wanted: Wanted; onWant: (wanted: Wanted) => void }) {
  return (
    <search className={styles.filter}>
      <label>
        State
        <select
          value={wanted.status}
          onChange={(event) => onWant({ ...wanted, status: event.target.value })}
        >
          <option value="">all</option>
          {STATES.map((state) => (
            <option key={state}>{state}</option>
          ))}
        </select>
      </label>
      <label>
        Person
        <input
          value={wanted.user}
          placeholder="exact id"
          onChange={(event) => onWant({ ...wanted, user: event.target.value })}
        />
      </label>
    </search>
  );
}

type Deed = (id: string) => void;

function cellsOf(request: sent.AnyRequest, stop: Deed, again: Deed): ReactNode[] {
  const { id, user_id, agent_id, created_at, started_at, completed_at } = request;
  const waited = between(created_at, started_at ?? completed_at);
  const took = between(started_at, completed_at);
  return [
    <code key="id">{id}</code>,
    user_id,
    agent_id,
    <State key="state" {...request} />,
    waited === null ? "–" : durationOf(waited),
    took === null ? "–" : durationOf(took),
    ALIVE.has(request.status) ? (
      <Button key="stop" tone="danger" aria-label={`Stop ${id}`} onClick={() => stop(id)}>
        Stop
      </Button>
    ) : (
      <Button key="again" aria-label={`Retry ${id}`} onClick={() => again(id)}>
        Retry
      </Button>
    ),
  ];
}

function State({ status, error, queue_position, attempt, crashes }: sent.AnyRequest) {
  const more = [
    error?.code,
    queue_position === null ? null : `place ${queue_position}`,
    attempt > 1 ? `attempt ${attempt}` : null,
    crashes > 0 ? `${crashes} lost` : null,
  ].filter(Boolean);
  return (
    <span data-status={status} title={error?.message}>
      {status}
      {more.length > 0 && <small className={styles.soft}> {more.join(", ")}</small>}
    </span>
  );
}
